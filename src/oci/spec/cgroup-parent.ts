import { z } from 'zod'

/** A unit of systemd, `ci-jobs.slice`. @see systemd.slice(5) */
const SLICE = /^(?:-|[A-Za-z0-9:_.\\]+(?:-[A-Za-z0-9:_.\\]+)*)\.slice$/

/** Below each controller's root. */
const PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/

export const isSlice = (text: string): boolean => SLICE.test(text)

export const cgroupParent = z
  .string()
  .max(1024)
  .refine(
    (text) => isSlice(text) || PATH.test(text),
    'it is a path such as /ci/jobs, or with systemd a slice: ci-jobs.slice',
  )
  .optional()
  .describe('cgroup that its own is in: a path, or a slice with the driver systemd')

/** Where systemd has the cgroup of a slice: `a-b.slice` is in `a.slice`. */
export function pathOfSlice(slice: string): string {
  const parts = slice.replace(/\.slice$/, '').split('-')
  if (slice === '-.slice') return ''
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('-')}.slice`).join('')
}
