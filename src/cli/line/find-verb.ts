import { PurserError } from '../../model/errors.ts'
import { DOCKER_VERBS } from './docker-verbs.ts'
import { parseLine } from './parse-line.ts'
import { suggestion } from './suggest.ts'
import type { Listed, ListedVerb, OptionSpecs } from './verb.ts'

interface Place {
  /** The verbs so far: `command ls`. */
  path: string
  /** Options that stood before the verb. */
  given: Record<string, unknown>
  /** The words after it. */
  rest: readonly string[]
}

/** A verb, or the list of verbs where none was named. */
export type Found = (Place & { listed: ListedVerb }) | (Place & { summary: string; list: readonly Listed[] })

/**
 * The verb that a command line names, whatever options stand before it.
 *
 * @throws PurserError invalid_argument for a verb that there is not
 */
export function findVerb(words: readonly string[], verbs: readonly Listed[], options: OptionSpecs): Found {
  let place: Place & { summary: string; list: readonly Listed[] } = {
    path: '',
    given: {},
    rest: words,
    summary: '',
    list: verbs,
  }
  for (;;) {
    const { path, list, given: before } = place
    const { given, args } = parseLine(place.rest, { options, optionsEnd: 'first-argument' })
    const [word, ...rest] = args
    const all = { ...before, ...given }
    if (word === undefined) return { ...place, given: all, rest }
    const next = list.find(({ name }) => name === word)
    if (!next) throw unknownVerb(path, word, list)
    const here = { path: `${path} ${word}`.trim(), given: all, rest }
    if (!('verbs' in next)) return { ...here, listed: next }
    place = { ...here, summary: next.summary, list: next.verbs }
  }
}

function unknownVerb(path: string, word: string, list: readonly Listed[]): PurserError {
  const what = `there is no verb ${`${path} ${word}`.trim()}`
  const instead = path === '' ? DOCKER_VERBS.get(word) : undefined
  if (instead !== undefined) return new PurserError('invalid_argument', what, { remedy: instead })
  const known = list.filter((each) => !('hidden' in each)).map(({ name }) => name)
  return new PurserError('invalid_argument', `${what}${suggestion(word, known)}`, {
    remedy: `see ${['purser', path, '--help'].filter((part) => part !== '').join(' ')}`,
  })
}
