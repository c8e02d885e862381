import { z } from 'zod'
import { CREATES_ITS_SUBJECT, commandTypes } from '../../commands/index.ts'
import type { AnyAggregate } from '../../model/aggregate.ts'
import { commandBody } from './commands.ts'
import { PROBLEM_TYPE, problemSchema } from './problem.ts'
import {
  type AnswerShape,
  defineRoute,
  namespaced,
  noQuery,
  type Resource,
  type Route,
  type SocketRoute,
} from './route.ts'
import * as schemas from './schemas.ts'

type Json = Record<string, unknown>

/** Shapes that several answers have: they are described once. */
const SHARED = new Map<z.ZodType, string>([
  [schemas.commandSchema, 'Command'],
  [schemas.containerSchema, 'Container'],
  [schemas.contentSchema, 'Content'],
  [schemas.eventSchema, 'Event'],
  [schemas.exitSchema, 'Exit'],
  [schemas.imageSchema, 'Image'],
  [schemas.jobSchema, 'Job'],
  [schemas.namespaceSchema, 'Namespace'],
  [schemas.snapshotSchema, 'Snapshot'],
  [schemas.taskSchema, 'Task'],
  [problemSchema, 'Problem'],
])

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })

/** The OpenAPI document of some resources, served as one of them. @see OpenAPI 3.1.1 */
export function openapi(resources: readonly Resource[]): Resource {
  const route = defineRoute({
    method: 'GET',
    path: '/v1/openapi.json',
    summary: 'This document',
    scope: 'node',
    query: noQuery,
    answers: { 200: { description: 'OpenAPI 3.1', schema: z.record(z.string(), z.unknown()) } },
    handle: async ({ services }) => ({
      status: 200,
      body: documentOf([...resources, resource], services.version),
    }),
  })
  const resource: Resource = { name: 'openapi', routes: [route] }
  return resource
}

function documentOf(resources: readonly Resource[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const { name, routes, sockets } of resources) {
    for (const route of routes) {
      paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(name, route) }
    }
    for (const socket of sockets ?? []) paths[socket.path] = { get: upgradeOf(name, socket) }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Purser',
      version,
      summary: 'A container runtime that keeps books',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://purser', description: 'the Unix socket purser.sock' }],
    tags: resources.map(({ name }) => ({ name })),
    paths,
    components: { schemas: componentsOf() },
  }
}

function componentsOf(): Json {
  const components: Json = {}
  for (const [schema, name] of SHARED) components[name] = jsonSchema(schema, 'output')
  const types = [...commandTypes].sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [type, aggregate] of types) components[type] = requestOf(type, aggregate)
  components.CommandRequest = {
    oneOf: types.map(([type]) => ref(type)),
    discriminator: {
      propertyName: 'type',
      mapping: Object.fromEntries(types.map(([type]) => [type, ref(type).$ref])),
    },
  }
  return components
}

/** What POST /v1/commands takes for one type. */
function requestOf(type: string, aggregate: AnyAggregate): Json {
  const { properties } = jsonSchema(commandBody, 'input') as { properties: Json }
  const payload = jsonSchema(aggregate.commands[type] as z.ZodType, 'input')
  const required = ['type']
  if (!CREATES_ITS_SUBJECT.has(type)) required.push('subject')
  if (Array.isArray(payload.required) && payload.required.length > 0) required.push('payload')
  return {
    type: 'object',
    properties: {
      ...properties,
      type: { type: 'string', const: type },
      subject: { ...jsonSchema(aggregate.id, 'input'), description: `id of the ${aggregate.name}` },
      payload,
    },
    required,
    additionalProperties: false,
  }
}

function operationOf(tag: string, route: Route): Json {
  const isCommand = route.body === commandBody
  const content =
    route.upload === undefined
      ? route.body && json(isCommand ? ref('CommandRequest') : jsonSchema(route.body, 'input'))
      : { [route.upload]: {}, 'application/octet-stream': {} }
  const body = content && { required: true, content }
  return {
    operationId: operationId(route.method.toLowerCase(), route.path),
    summary: route.summary,
    tags: [tag],
    parameters: parametersOf(route, route.headers),
    ...(body === undefined ? {} : { requestBody: body }),
    responses: {
      ...Object.fromEntries(Object.entries(route.answers).map(([status, answer]) => [status, responseOf(answer)])),
      default: problem,
    },
  }
}

function upgradeOf(tag: string, route: SocketRoute): Json {
  return {
    operationId: operationId('socket', route.path),
    summary: `WebSocket: ${route.summary}`,
    tags: [tag],
    parameters: parametersOf(route),
    responses: { 101: { description: 'the connection is a WebSocket now' }, default: problem },
  }
}

/** `getV1ContainersIdLogs` */
const operationId = (verb: string, path: string): string =>
  verb + path.replaceAll(/[^A-Za-z0-9]+([A-Za-z0-9]?)/g, (_, first: string) => first.toUpperCase())

const json = (schema: Json): Json => ({ 'application/json': { schema } })

const problem: Json = { description: 'a problem, RFC 9457', content: { [PROBLEM_TYPE]: { schema: ref('Problem') } } }

function responseOf({ description, schema, mediaTypes }: AnswerShape): Json {
  if (schema) return { description, content: json(shapeOf(schema)) }
  if (!mediaTypes) return problem
  const content = Object.fromEntries(mediaTypes.map((type) => [type, { schema: { type: 'string' } }]))
  return { description, content }
}

function parametersOf(
  { path, query, scope }: Pick<Route, 'path' | 'query' | 'scope'>,
  headers: Readonly<Record<string, string>> = {},
): Json[] {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  const inQuery = { ...query.shape, ...(scope === 'namespace' ? namespaced : {}) }
  return [
    ...inPath,
    ...Object.entries(inQuery).map(([name, schema]) => parameterOf(name, schema as z.ZodType)),
    ...(scope === 'namespace' ? [headerOf('Purser-Namespace', 'the namespace, where the query has none')] : []),
    ...Object.entries(headers).map(([name, description]) => headerOf(name, description)),
  ]
}

function parameterOf(name: string, schema: z.ZodType): Json {
  const wrapper = z.object({ value: schema })
  const input = jsonSchema(wrapper, 'input') as { properties: { value: Json } }
  const output = jsonSchema(wrapper, 'output') as { properties: { value: Json } }
  // Of what is made from text by code, only what comes out can be described.
  const { description, ...shape } = input.properties.value
  const value = Object.keys(shape).length > 0 ? shape : output.properties.value
  return {
    name,
    in: 'query',
    required: !schema.safeParse(undefined).success,
    ...(description === undefined ? {} : { description }),
    schema: value,
  }
}

const headerOf = (name: string, description: string): Json => ({
  name,
  in: 'header',
  required: false,
  description,
  schema: { type: 'string' },
})

/** A schema by reference where it is shared, pages of shared ones too. */
function shapeOf(schema: z.ZodType): Json {
  const name = SHARED.get(schema)
  if (name !== undefined) return ref(name)
  if (schema instanceof z.ZodObject && schema.shape.items instanceof z.ZodArray) {
    const item = schema.shape.items.element as z.ZodType
    const itemName = SHARED.get(item)
    if (itemName !== undefined) {
      const page = jsonSchema(schema.extend({ items: z.array(z.unknown()) }), 'output') as { properties: Json }
      return { ...page, properties: { ...page.properties, items: { type: 'array', items: ref(itemName) } } }
    }
  }
  return jsonSchema(schema, 'output')
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json
  return rest
}
