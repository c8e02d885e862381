import type { Measure } from './result.ts'

/** What one part of a benchmark has found. */
export interface Found {
  measures: Measure[]
  samples: Record<string, number[]>
  /** What in the comparison has to be known. */
  method: string
}

export function together(title: string, parts: readonly Found[]) {
  return {
    title,
    method: parts.map(({ method }) => method).join('\n'),
    measures: parts.flatMap(({ measures }) => measures),
    samples: Object.assign({}, ...parts.map(({ samples }) => samples)) as Record<string, number[]>,
  }
}
