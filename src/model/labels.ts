import { z } from 'zod'

/** containerd's labels: key and value together 4096 bytes at most. @see containerd, labels/validate.go */
export const labels = z
  .record(z.string().min(1), z.string())
  .refine(
    (all) => Object.entries(all).every(([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(value) <= 4096),
    'a label and its value have 4096 bytes together at most',
  )

export type Labels = Record<string, string>

/** `key`, `key=value` or `key!=value`, as docker's `--filter label=` and containerd's label filters have it. */
export function labelMatches(all: Labels, selector: string): boolean {
  const equal = selector.indexOf('=')
  // A value may hold either sign: the first one counts.
  if (equal > 1 && selector[equal - 1] === '!') return all[selector.slice(0, equal - 1)] !== selector.slice(equal + 1)
  if (equal > 0) return all[selector.slice(0, equal)] === selector.slice(equal + 1)
  return Object.hasOwn(all, selector)
}
