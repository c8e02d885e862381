import type { OptionSpecs } from '../line/verb.ts'

export const snapshotterOption = {
  snapshotter: { value: 'name', help: 'overlayfs, the default, or another of purser snapshotter ls' },
} as const satisfies OptionSpecs

/** `KEY` of the default snapshotter or of the one named, or SNAPSHOTTER/KEY as `snapshot ls` and events have it. */
export function snapshotSubject(key: string, snapshotter: string | undefined): string {
  if (snapshotter !== undefined) return `${snapshotter}/${key}`
  return /^[a-z][a-z0-9-]*\//.test(key) ? key : `overlayfs/${key}`
}

/** What `snapshot prepare` and its like make is kept until it is removed. @see containerd, docs/garbage-collection.md */
export const keptLabels = (): Record<string, string> => ({ 'containerd.io/gc.root': new Date().toISOString() })
