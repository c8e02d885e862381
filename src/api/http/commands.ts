import { z } from 'zod'
import { command, isActive, isEnded } from '../../commands/command.ts'
import { commandRequest } from '../../model/command.ts'
import { PurserError } from '../../model/errors.ts'
import { anyGlob } from '../../model/glob.ts'
import { Secret } from '../../model/secret.ts'
import { parseRegistryAuth } from '../../oci/registry-auth.ts'
import { commandView } from '../../projections/views.ts'
import { progressRoute } from './command-progress.ts'
import { documentOf, type FoundCommand, findCommand } from './find-command.ts'

import { keyOfCursor, pageOf, paging } from './pages.ts'
import { type Preferences, parsePrefer, preferenceApplied } from './prefer.ts'
import { problemAnswer, problemOf } from './problem.ts'
import { type Answer, type Call, defineRoute, many, noQuery, type Resource } from './route.ts'
import { commandSchema, pageOf as pageSchema } from './schemas.ts'

/** What the body of POST /v1/commands may hold; the rest of a request comes in headers. */
export const commandBody = commandRequest.omit({ namespace: true, idempotencyKey: true, traceparent: true })

const preferHeader = {
  Prefer: 'wait=N: answer when the command has ended, or after N seconds (600 at most); RFC 7240',
}

const submit = defineRoute({
  method: 'POST',
  path: '/v1/commands',
  summary: 'Has something done; the command is durable when this answers',
  scope: 'namespace',
  query: noQuery,
  body: commandBody,
  headers: {
    ...preferHeader,
    'Idempotency-Key': 'a repeated key answers for the command of then; 255 characters at most',
    traceparent: 'W3C trace context',
    'X-Registry-Auth': "credentials for a registry, as Docker's API has them; they are written nowhere",
  },
  answers: {
    200: { description: 'it succeeded within the time the client waits', schema: commandSchema },
    202: { description: 'it is accepted, and has not ended or was not waited for', schema: commandSchema },
  },
  async handle(call) {
    const preferences = parsePrefer(call.header('prefer'))
    const { id, namespace } = await call.services.intake.submit(
      {
        ...call.body,
        namespace: call.namespace,
        ...optional('idempotencyKey', call.header('idempotency-key')),
        ...optional('traceparent', call.traceparent),
      },
      { actor: call.actor, surface: 'http', ...optional('registryAuth', registryAuthOf(call)) },
    )
    const headers = { location: `/v1/commands/${id}`, ...preferenceApplied(preferences) }
    const found = await endOf(call, await findCommand(call.services.log, id, namespace, call.signal), preferences)
    const body = commandView(found)
    if (preferences.waitSeconds === undefined || isActive(found.state)) return { status: 202, body, headers }
    if (found.state.status === 'succeeded') return { status: 200, body, headers }
    const failed = failedAnswer(found)
    return { ...failed, headers: { ...headers, ...failed.headers } }
  },
})

const get = defineRoute({
  method: 'GET',
  path: '/v1/commands/{id}',
  summary: 'A command, or how it ended',
  scope: 'node',
  query: noQuery,
  headers: preferHeader,
  answers: { 200: { description: 'the command', schema: commandSchema } },
  async handle(call) {
    const preferences = parsePrefer(call.header('prefer'))
    const found = await findCommand(call.services.log, call.params.id, call.namespace, call.signal)
    const body = commandView(await endOf(call, found, preferences))
    const { waitSeconds } = preferences
    return { status: 200, body, headers: preferenceApplied(waitSeconds === undefined ? {} : { waitSeconds }) }
  },
})

const list = defineRoute({
  method: 'GET',
  path: '/v1/commands',
  summary: 'Commands, newest first; of those that ended long ago only the log tells',
  scope: 'namespace',
  query: z.strictObject({
    ...paging,
    status: z.enum(['active', 'ended']).optional(),
    type: many(z.string().max(256)).describe('a glob: container.*'),
  }),
  answers: { 200: { description: 'a page of commands', schema: pageSchema(commandSchema) } },
  async handle({ services: { log }, namespace, query: { limit, cursor, status, type } }) {
    const matches = anyGlob(type)
    const before = cursor === undefined ? undefined : keyOfCursor(cursor)
    // Ids are UUIDs of version 7: their order is that of time.
    const ids = [...log.documents.list(command, namespace)].map(({ id }) => id).filter((id) => !before || id < before)
    ids.sort((a, b) => (a < b ? 1 : -1))
    const page = pageOf(ids, limit, (id) => {
      const found = documentOf(log, namespace, id)
      if (!found || !matches(found.state.command.type)) return undefined
      if (status !== undefined && isEnded(found.state) !== (status === 'ended')) return undefined
      return commandView(found)
    })
    return { status: 200, body: page }
  },
})

const cancel = defineRoute({
  method: 'DELETE',
  path: '/v1/commands/{id}',
  summary: 'Asks a command to end as soon as it can',
  scope: 'node',
  query: noQuery,
  answers: { 202: { description: 'the command, which is asked to end', schema: commandSchema } },
  async handle(call) {
    const { log, intake } = call.services
    const { namespace, id, state } = await findCommand(log, call.params.id, call.namespace, call.signal)
    if (!documentOf(log, namespace, id)) {
      throw new PurserError('failed_precondition', `command ${id} has ${state.status} already`, {
        remedy: 'there is nothing to cancel',
      })
    }
    const request = { type: 'command.cancel', subject: id, namespace, ...optional('traceparent', call.traceparent) }
    const accepted = await intake.submit(request, { actor: call.actor, surface: 'http' })
    const cancelling = await findCommand(log, accepted.id, namespace, call.signal)
    if (cancelling.state.status === 'failed') return failedAnswer(cancelling)
    const body = commandView(await findCommand(log, id, namespace, call.signal))
    return { status: 202, body, headers: { location: `/v1/commands/${id}` } }
  },
})

/** The command when it has ended, or as it is when the client's patience is at its end. */
async function endOf(call: Call, found: FoundCommand, { waitSeconds }: Preferences): Promise<FoundCommand> {
  if (waitSeconds === undefined || isEnded(found.state)) return found
  const { log, outcomes } = call.services
  const within = AbortSignal.any([call.signal, AbortSignal.timeout(waitSeconds * 1000)])
  const { namespace, id } = found
  try {
    const state = await outcomes.wait(namespace, id, within)
    return { ...(documentOf(log, namespace, id) ?? found), state }
  } catch (error) {
    if (!within.aborted) throw error
    return documentOf(log, namespace, id) ?? found
  }
}

/** The error that a command ended with, as the problem of the request that waited for it. */
function failedAnswer({ id, state }: FoundCommand): Answer {
  const error = 'error' in state ? state.error : new PurserError('internal', `command ${id} has not failed`).toBody()
  return problemAnswer(problemOf(error, { command: id }))
}

/** @throws PurserError invalid_argument when it is malformed */
function registryAuthOf(call: Call): Secret | undefined {
  const header = call.header('x-registry-auth')
  if (header === undefined || header === '') return undefined
  const secret = new Secret(header)
  parseRegistryAuth(secret)
  return secret
}

const optional = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as Partial<Record<K, V>>

export const commands: Resource = { name: 'commands', routes: [submit, get, list, cancel, progressRoute] }
