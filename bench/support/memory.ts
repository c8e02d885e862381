import { readFile } from 'node:fs/promises'

const MIB = 1024 // smaps_rollup counts in KiB

/** In MiB. */
export interface Memory {
  rss: number
  pss: number
}

export async function memoryOf(pid: number): Promise<Memory> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]) / MIB
  return { rss: of('Rss'), pss: of('Pss') }
}
