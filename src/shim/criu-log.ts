import { open } from 'node:fs/promises'

/** Of the end of a log, which may be long: what went wrong is said there. */
const TAIL_BYTES = 64 * 1024

/** Limits that CRIU raises where it may; it goes on without. */
const HARMLESS = /^rlimit: |^Can't setup RLIMIT/

/** What CRIU says went wrong, first things first, without times and places in its source. */
export function criuErrors(log: string): string[] {
  const told = [...log.matchAll(/^(?:\(\d+\.\d+\)\s+)?(?:\s*\d+: )?Error \([^)]*\): (.+)$/gm)].map(
    ([, text = '']) => text,
  )
  return told.filter((text) => !HARMLESS.test(text))
}

/** @returns nothing where there is no log */
export async function readCriuErrors(path: string): Promise<string[]> {
  try {
    await using file = await open(path)
    const { size } = await file.stat()
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES))
    await file.read(tail, 0, tail.length, size - tail.length)
    return criuErrors(tail.toString('utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
