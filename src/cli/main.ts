import { Command, CommanderError, Option } from 'commander'
import { ERROR_CODES, toPurserError } from '../model/errors.ts'

interface Verbs {
  define(program: Command, verbs: readonly string[]): void
}

/** Which file knows a verb: only that one is loaded, so that each command starts fast. */
const FILES: Record<string, () => Promise<Verbs>> = {
  command: () => import('./books.ts'),
  completion: () => import('./completion.ts'),
  create: () => import('./containers.ts'),
  daemon: () => import('./daemon.ts'),
  events: () => import('./books.ts'),
  exec: () => import('./containers.ts'),
  gc: () => import('./images.ts'),
  history: () => import('./books.ts'),
  images: () => import('./images.ts'),
  info: () => import('./node.ts'),
  inspect: () => import('./containers.ts'),
  kill: () => import('./containers.ts'),
  logs: () => import('./containers.ts'),
  namespace: () => import('./node.ts'),
  pause: () => import('./containers.ts'),
  ps: () => import('./containers.ts'),
  pull: () => import('./images.ts'),
  rm: () => import('./containers.ts'),
  rmi: () => import('./images.ts'),
  run: () => import('./run.ts'),
  start: () => import('./containers.ts'),
  state: () => import('./books.ts'),
  stop: () => import('./containers.ts'),
  tag: () => import('./images.ts'),
  unpause: () => import('./containers.ts'),
  version: () => import('./node.ts'),
  wait: () => import('./containers.ts'),
}

const USAGE = 64

async function main(): Promise<void> {
  const program = new Command('purser')
    .description('a container runtime that keeps books')
    .addOption(new Option('-n, --namespace <name>').env('PURSER_NAMESPACE').default('default'))
    .addOption(
      new Option('--address <socket>', 'socket of the daemon').env('PURSER_ADDRESS').default('/run/purser/purser.sock'),
    )
    .addOption(new Option('--format <format>').choices(['table', 'json', 'ndjson']).default('table'))
    .option('--debug', 'more words when something goes wrong')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
  const verbs = Object.keys(FILES)
  const load = FILES[process.argv.slice(2).find((word) => Object.hasOwn(FILES, word)) ?? '']
  const files = load
    ? [await load()]
    : await Promise.all(
        [...new Set(Object.values(FILES).map(String))].map((text) =>
          Object.values(FILES).find((each) => String(each) === text)?.(),
        ),
      )
  for (const file of files) file?.define(program, verbs)
  for (const command of program.commands) inherit(command, program)
  try {
    await program.parseAsync()
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      process.exitCode = thrown.exitCode === 0 ? 0 : USAGE
      return
    }
    const error = toPurserError(thrown)
    process.stderr.write(`purser: ${error.message}${error.remedy === undefined ? '' : `; ${error.remedy}`}\n`)
    if (process.argv.includes('--debug')) process.stderr.write(`${error.code}: ${error.stack}\n`)
    process.exitCode = ERROR_CODES[error.code].exit
  }
}

/** The global options are taken after a verb too. */
function inherit(command: Command, program: Command): void {
  command.exitOverride()
  for (const option of program.options) {
    if (
      command.options.some(({ long, short }) => long === option.long || (short !== undefined && short === option.short))
    )
      continue
    const own = new Option(option.flags, option.description).hideHelp()
    if (option.argChoices) own.choices(option.argChoices)
    command.addOption(own)
    command.on(`option:${own.name()}`, (value: string | null) =>
      program.setOptionValueWithSource(own.attributeName(), value ?? true, 'cli'),
    )
  }
  for (const sub of command.commands) inherit(sub, program)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

await main()
