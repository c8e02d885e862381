import type { Measure } from './result.ts'

/** What one part of a benchmark has found. */
export interface Found {
  measures: Measure[]
  samples: Record<string, number[]>
  /** What in the comparison has to be known. */
  method: string
}
