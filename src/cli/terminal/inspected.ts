import { failed } from '../line/failed.ts'
import { type Format, printJson } from './output.ts'

/**
 * Looks up each name, says of each that cannot be found why, and prints the rest: one JSON array, or with ndjson a line each.
 *
 * @param find one name may stand for several things
 * @returns the exit status: that of the first failure
 */
export async function printFound(
  names: readonly string[],
  find: (name: string) => Promise<readonly unknown[]>,
  { format, debug }: { format: Format; debug: boolean },
): Promise<number> {
  const found: unknown[] = []
  let status = 0
  for (const name of names) {
    try {
      found.push(...(await find(name)))
    } catch (thrown) {
      const code = failed(thrown, { debug })
      if (status === 0) status = code
    }
  }
  if (format === 'ndjson') for (const each of found) printJson(each, 'ndjson')
  else printJson(found)
  return status
}
