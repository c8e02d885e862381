/** Writes the pages of docs/ that are made from the schemas. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type CatalogEvent, commandCatalog, eventCatalog } from '../src/commands/catalog.ts'
import { eventEnvelope } from '../src/model/event.ts'

const DOCS = join(import.meta.dirname, '../docs')

/** The pages by file name. */
export const generatedPages = (): ReadonlyMap<string, string> => new Map([['events.md', eventsPage()]])

function eventsPage(): string {
  const events = eventCatalog()
  const aggregates = [...new Set(events.map(({ aggregate }) => aggregate))]
  const lines = [
    '# Events',
    '',
    '`npm run docs` makes this page from the schemas in `src/commands/`; JSON Schema is at `GET /v1/events/schema`.',
    '',
    'An event is a CloudEvent 1.0. `type` says what happened to `subject`, and `schema` which version of the type its `data`',
    'have. Logs are never rewritten: events of an earlier version are given the present shape when they are read. Types and',
    'versions that a release does not know are kept and shown, and what is folded from the log leaves them out; a reader of',
    'events should do the same.',
    '',
    '## Attributes',
    '',
    ...table(['attribute', 'holds'], attributes()),
    '',
    '## Types',
    '',
    'Of a task, a container and so on: `-ing` is an intent, written before anything is done on the host; the past tense is',
    'a fact.',
    '',
    ...aggregates.flatMap((aggregate) => [
      `### ${aggregate}`,
      '',
      ...table(
        ['type', 'version', 'meaning', 'data'],
        events.filter((event) => event.aggregate === aggregate).map(rowOf),
      ),
      '',
    ]),
    '## Commands and what they lead to',
    '',
    'Every command is `command.accepted`, `command.started` once an attempt where a worker carries it out, and ends as one of',
    '`command.succeeded`, `command.failed` and `command.cancelled`, written together with its last facts. A composite command',
    'leads to other commands, here in italics. What happens by itself, such as `task.exited`, has no `commandid`.',
    '',
    ...table(
      ['command', 'meaning', 'leads to'],
      commandCatalog().map(({ type, meaning, leadsTo }) => [
        code(type),
        meaning,
        leadsTo.map((each) => (isEvent(each) ? code(each) : `_${each}_`)).join(', '),
      ]),
    ),
    '',
  ]
  return lines.join('\n')
}

const code = (text: string): string => `\`${text}\``

const isEvent = (type: string): boolean => eventCatalog().some((event) => event.type === type)

function attributes(): string[][] {
  const { properties } = z.toJSONSchema(eventEnvelope)
  const fields = Object.entries(properties ?? {}).map(([name, property]) => [
    code(name),
    (typeof property === 'object' && property.description) || MEANINGS[name] || '',
  ])
  return [...fields, [code('position'), 'its place in the log of the node: 1, 2, 3 … without gaps']]
}

const MEANINGS: Readonly<Record<string, string>> = {
  specversion: '1.0',
  namespace: 'the namespace that it belongs to',
  aggregate: 'the kind of thing that it happened to; the first part of `type` and `subject`',
  traceparent: 'W3C Trace Context of the request, where it had one',
  data: 'what there is to say beyond the type',
}

const rowOf = ({ type, version, meaning, data }: CatalogEvent): string[] => [
  code(type),
  String(version),
  meaning,
  data instanceof z.ZodObject ? fieldsOf(data) : '',
]

const fieldsOf = (data: z.ZodObject): string =>
  Object.entries(data.shape)
    .map(([name, field]) => code(field instanceof z.ZodOptional ? `${name}?` : name))
    .join(', ')

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)]
}

if (import.meta.main) {
  for (const [name, text] of generatedPages()) writeFileSync(join(DOCS, name), text)
}
