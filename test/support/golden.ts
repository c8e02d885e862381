import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { aggregates } from '../../src/commands/index.ts'
import { eventEnvelope } from '../../src/model/event.ts'
import type { EventSchema } from '../../src/model/event-schema.ts'
import { exampleOf } from './examples.ts'

/** One event of each version of each type. Lines are added and never changed: they stand for what is in users' logs. */
export const GOLDEN = new URL('../histories/events.ndjson', import.meta.url)

const goldenLine = z.strictObject({
  event: eventEnvelope,
  /** What the data of that version look like, as JSON Schema without its descriptions. */
  shape: z.record(z.string(), z.unknown()),
})

export type GoldenLine = z.output<typeof goldenLine>

export function readGolden(): GoldenLine[] {
  if (!existsSync(GOLDEN)) return []
  const lines = readFileSync(GOLDEN, 'utf8').trimEnd().split('\n')
  return lines.map((line) => goldenLine.parse(JSON.parse(line)))
}

/** Every type of event that this release knows. */
export const knownEvents = (): { aggregate: string; type: string; schema: EventSchema }[] =>
  [...aggregates.values()].flatMap((aggregate) =>
    Object.entries<EventSchema>(aggregate.events).map(([type, schema]) => ({
      aggregate: aggregate.name,
      type,
      schema,
    })),
  )

/** The shape of data that a schema lets through, in words that its descriptions do not change. */
export function shapeOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...shape } = z.toJSONSchema(schema, {
    io: 'output',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      delete jsonSchema.description
    },
  })
  return JSON.parse(JSON.stringify(shape))
}

/** Adds a line for each type and version that has none. @returns what was added */
export function addGolden(): string[] {
  const have = new Set(readGolden().map(({ event }) => `${event.type} ${event.schema}`))
  const missing = knownEvents().filter(({ type, schema }) => !have.has(`${type} ${schema.version}`))
  for (const { aggregate, type, schema } of missing) {
    const event = {
      specversion: '1.0',
      id: '01890000-0000-7000-8000-000000000000',
      source: '/nodes/golden',
      type,
      subject: `${aggregate}/${SUBJECTS[aggregate] ?? 'c1'}`,
      time: '2026-01-02T03:04:05.678Z',
      namespace: 'default',
      aggregate,
      commandid: '01890000-0000-7000-8000-000000000001',
      correlationid: '01890000-0000-7000-8000-000000000001',
      actor: 'unix:uid=0,gid=0,pid=17',
      schema: schema.version,
      data: schema.data.parse(exampleOf(schema.data)),
    }
    const line = goldenLine.parse({ event, shape: shapeOf(schema.data) })
    appendFileSync(GOLDEN, `${JSON.stringify(line)}\n`)
  }
  return missing.map(({ type, schema }) => `${type} version ${schema.version}`)
}

const SUBJECTS: Readonly<Record<string, string>> = {
  command: '01890000-0000-7000-8000-000000000001',
  content: `sha256:${'0123456789abcdef'.repeat(4)}`,
  gc: 'node',
  image: 'docker.io/library/alpine:3.20',
  log: 'node',
  namespace: 'default',
  snapshot: 'overlayfs/c1',
}
