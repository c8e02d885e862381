import type { StoredEvent } from '../client/index.ts'
import { parseBytes } from '../oci/size.ts'
import { filters } from './line/filters.ts'
import { defineVerb } from './line/verb.ts'
import { EventFile } from './terminal/event-file.ts'
import { whatOf } from './terminal/event-words.ts'
import { writeOut } from './terminal/output.ts'

const BYTES_MAX = 100 * 1024 * 1024

export const verb = defineVerb({
  args: [],
  options: {
    since: { value: 'since', help: 'after a position, an RFC 3339 time or a duration (15m); the beginning by default' },
    until: { value: 'since', help: 'up to a position, an RFC 3339 time or a duration (15m); not with --follow' },
    follow: { short: 'f', help: 'go on with those to come, also over a restart of the daemon; from now by default' },
    append: {
      value: 'file',
      help: 'write them to the end of a file, one a line as JSON, after the last one that it has: --since is for an empty one',
      completes: 'file',
    },
    'max-size': {
      value: 'bytes',
      help: 'of that file, which then becomes FILE.1; 100m without it',
      parse: parseBytes,
    },
    filter: {
      value: 'filter',
      many: true,
      help: 'type=GLOB, subject=GLOB, actor=GLOB, container=ID, command=ID, correlation=ID or trace=ID',
    },
  },
  async run({ client, flags, format, namespaceGiven }) {
    const keys = ['type', 'subject', 'actor', 'container', 'command', 'correlation', 'trace'] as const
    const { type, subject, actor, container, command, correlation, trace } = filters(flags.filter, keys)
    const wanted = {
      types: type,
      subjects: [...subject, ...container.map((id) => `*/${id}`)],
      actors: actor,
      commands: command,
      correlations: correlation,
      traces: trace,
      namespace: namespaceGiven,
    }
    const { since, until, follow } = flags
    if (flags.append !== undefined) {
      using file = new EventFile(flags.append, flags['max-size'] ?? BYTES_MAX)
      const after = file.last?.toString() ?? since ?? '0'
      for await (const event of client.events({ since: after, until, follow, ...wanted })) file.append(event)
      return 0
    }
    const line = format === 'table' ? inWords : (event: StoredEvent) => JSON.stringify(event)
    for await (const event of client.events({ since, until, follow, ...wanted })) {
      await writeOut(process.stdout, `${line(event)}\n`)
    }
    return 0
  },
})

const inWords = ({ position, time, type, namespace, subject, data }: StoredEvent): string =>
  `${position} ${time} ${type} ${namespace} ${subject} ${whatOf(data)}`.trimEnd()
