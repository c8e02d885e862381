import { PurserError } from '../model/errors.ts'
import { verbs } from './index.ts'
import { dockerStatus, failed } from './line/failed.ts'
import { findVerb } from './line/find-verb.ts'
import { contextOf, type Globals, globals } from './line/globals.ts'
import { ABOUT, listHelp, verbHelp } from './line/help.ts'
import { checkArguments, parseLine, withDefaults } from './line/parse-line.ts'
import type { ListedVerb } from './line/verb.ts'

/** @returns the exit status */
async function main(words: readonly string[]): Promise<number> {
  const found = findVerb(words, verbs, globals)
  const given: Partial<Globals> = found.given
  if ('listed' in found) return await runVerb(found.listed, found.path, given, found.rest)
  const help = listHelp(found.path, found.summary || ABOUT, found.list, globals)
  if (given.help) {
    process.stdout.write(help)
    return 0
  }
  throw new PurserError('invalid_argument', 'no verb is given', {
    remedy: `see purser ${found.path} --help`.replace('  ', ' '),
  })
}

async function runVerb(
  listed: ListedVerb,
  path: string,
  before: Partial<Globals>,
  words: readonly string[],
): Promise<number> {
  const { verb } = await listed.load()
  let given = before
  try {
    const options = { ...globals, ...verb.options }
    const line = parseLine(words, { options, optionsEnd: verb.passThrough ?? 'nowhere' })
    given = { ...before, ...line.given }
    if (given.help) {
      process.stdout.write(verbHelp(path, listed.summary, verb, globals))
      return 0
    }
    checkArguments(line.args, verb.args)
    const flags = withDefaults(line.given, verb.options)
    return (await verb.run({ flags, args: line.args, verbs, ...contextOf(given) })) ?? 0
  } catch (thrown) {
    const status = failed(withRemedy(thrown, path), { debug: given.debug === true })
    return verb.failsLike === 'docker' ? dockerStatus(thrown) : status
  }
}

/** A word that was not understood, and no better advice. */
function withRemedy(thrown: unknown, path: string): unknown {
  if (!(thrown instanceof PurserError) || thrown.code !== 'invalid_argument' || thrown.remedy) return thrown
  return new PurserError(thrown.code, thrown.message, { cause: thrown, remedy: `see purser ${path} --help` })
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

/** Fulfilled when what was printed has been written: of a pipe that is full, the rest waits in here. */
const written = async (stream: NodeJS.WriteStream): Promise<void> => {
  if (stream.writableLength > 0) await new Promise<void>((resolve) => stream.write('', () => resolve()))
}

main(process.argv.slice(2))
  .catch((thrown: unknown) => failed(thrown, { debug: process.argv.includes('--debug') }))
  .then(async (status) => {
    await written(process.stdout)
    await written(process.stderr)
    process.exit(status) // At once: what is still open need not be wound up.
  })
