/** How long work has waited: shares of the time in percent, over so many seconds, and all of it since the beginning. */
export interface Stall {
  avg10: number
  avg60: number
  avg300: number
  totalUs: number
}

/** Of each resource: when some of the processes waited for it, and when all of them did. */
export type Pressure = Partial<Record<'cpu' | 'memory' | 'io', { some: Stall; full?: Stall }>>
