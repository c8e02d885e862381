import { PurserError } from '../../model/errors.ts'
import { suggestion } from './suggest.ts'

/**
 * docker's `--filter KEY=VALUE`, given any number of times.
 *
 * @returns the values of every key that there is
 * @throws PurserError invalid_argument
 */
export function filters<const K extends string>(given: readonly string[], keys: readonly K[]): Record<K, string[]> {
  const found = Object.fromEntries(keys.map((key) => [key, [] as string[]])) as Record<K, string[]>
  for (const text of given) {
    const at = text.indexOf('=')
    const key = keys.find((each) => each === text.slice(0, Math.max(0, at)))
    if (key === undefined) {
      const like = at < 0 ? '' : suggestion(text.slice(0, at), keys)
      throw new PurserError('invalid_argument', `--filter ${JSON.stringify(text)} is not a filter${like}`, {
        remedy: `write ${keys.map((each) => `${each}=…`).join(' or ')}`,
      })
    }
    found[key].push(text.slice(at + 1))
  }
  return found
}

/** @throws PurserError invalid_argument for a value that what is filtered never has */
export function checkFilterValues(key: string, values: readonly string[], known: readonly string[]): void {
  const wrong = values.find((value) => !known.includes(value))
  if (wrong === undefined) return
  throw new PurserError(
    'invalid_argument',
    `--filter ${JSON.stringify(`${key}=${wrong}`)} is never so${suggestion(wrong, known)}`,
    { remedy: `write one of ${known.join(', ')}` },
  )
}
