import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { command, type EndedCommand, isActive } from '../commands/command.ts'
import { aggregates, CREATES_ITS_SUBJECT, commandTypes } from '../commands/index.ts'
import { namespace as namespaces } from '../commands/namespace.ts'
import type { AppendOptions, EventLog } from '../log/event-log.ts'
import { type AnyAggregate, type Fact, isRefusal } from '../model/aggregate.ts'
import { type CommandEnvelope, type CommandRequest, commandRequest } from '../model/command.ts'
import { PurserError } from '../model/errors.ts'
import type { Cause } from '../model/event.ts'
import { isRandomContainerId, randomContainerId, uuidv7 } from '../model/ids.ts'
import { parse } from '../model/parse.ts'
import type { Secret } from '../model/secret.ts'
import { Enclosures } from './enclosures.ts'
import type { Outcomes } from './outcomes.ts'
import type { Reservation } from './places.ts'

export interface Submitter {
  actor: string
  /** Through which API it asks. */
  surface?: string
  /** The command that this one is a step of. */
  parent?: CommandEnvelope
  /** The outermost command of the chain that it belongs to without being a step of it. */
  correlationId?: string
  /** Credentials for a registry, as `X-Registry-Auth` has them; they are written nowhere. */
  registryAuth?: Secret
}

export interface Accepted {
  id: string
  namespace: string
  subject: string
  /** True when the idempotency key was used before: `id` is the command of then. */
  duplicate: boolean
}

const CONFLICTS_MAX = 20

/**
 * Where every request becomes a command: checked, given an identity, and in the log before anybody hears of it. Commands
 * that a worker carries out are only accepted here; those on pure records are decided at once, in the same append.
 */
export class Intake {
  readonly enclosures: Enclosures
  readonly #log: EventLog
  readonly #outcomes: Outcomes
  readonly #isQueued: (type: string) => boolean
  #reserve: (envelope: CommandEnvelope) => Reservation | undefined = () => undefined

  constructor(log: EventLog, outcomes: Outcomes, isQueued: (type: string) => boolean) {
    this.#log = log
    this.#outcomes = outcomes
    this.#isQueued = isQueued
    this.enclosures = new Enclosures(log)
  }

  /** @param reserve asked for each command that a worker carries out, before it is accepted */
  beginAtOnce(reserve: (envelope: CommandEnvelope) => Reservation | undefined): void {
    this.#reserve = reserve
  }

  /**
   * @returns once the command is durable
   * @throws PurserError invalid_argument, naming the field; unavailable when Redis does not answer
   */
  async submit(input: CommandRequest, submitter: Submitter): Promise<Accepted> {
    const request = parse(commandRequest, input, '')
    const aggregate = commandTypes.get(request.type)
    if (!aggregate) throw unknownType(request.type)
    const subject = parse(aggregate.id, this.#subject(request), 'subject')
    const schema = aggregate.commands[request.type] as z.ZodType<Record<string, unknown>>
    const payload = parse(schema, request.payload, 'payload')
    const id = uuidv7()
    const envelope: CommandEnvelope = {
      id,
      type: request.type,
      // A namespace's own record is kept within it.
      namespace: aggregate.name === 'namespace' ? subject : request.namespace,
      subject,
      aggregate: aggregate.name,
      node: this.#log.node,
      actor: submitter.actor,
      ...(submitter.surface === undefined ? {} : { surface: submitter.surface }),
      priority: request.priority,
      issuedAt: new Date().toISOString(),
      ...(request.deadline === undefined ? {} : { deadline: request.deadline }),
      ...(request.idempotencyKey === undefined ? {} : { idempotencyKey: request.idempotencyKey }),
      ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }),
      correlationId: submitter.parent?.correlationId ?? submitter.correlationId ?? id,
      ...(submitter.parent === undefined ? {} : { parentId: submitter.parent.id }),
      ...enclosedIn(submitter),
      payload,
    }
    await this.#ensureNamespace(envelope)
    const { registryAuth } = submitter
    // Before it is accepted: a worker may have it at once.
    if (registryAuth) this.enclosures.put(id, registryAuth)
    try {
      const duplicate = await this.#accept(
        envelope,
        aggregate,
        request.namespace, // A key is the client's: it knows no namespace but the one that it named.
        fingerprint(request.type, request.subject === undefined ? undefined : subject, payload),
      )
      if (duplicate) this.#handOn(id, duplicate)
      return duplicate ?? { id, namespace: envelope.namespace, subject, duplicate: false }
    } catch (error) {
      this.enclosures.drop(id)
      throw error
    }
  }

  /** Submits and waits for the outcome. */
  async execute(input: CommandRequest, submitter: Submitter, signal: AbortSignal): Promise<EndedCommand> {
    const { id, namespace } = await this.submit(input, submitter)
    return await this.#outcomes.wait(namespace, id, signal)
  }

  /** A request that is made again after a restart brings what was lost with it. */
  #handOn(id: string, duplicate: Accepted): void {
    const enclosure = this.enclosures.of(id)
    this.enclosures.drop(id)
    const earlier = this.#log.documents.get(command, duplicate.namespace, duplicate.id)
    if (enclosure && isActive(earlier)) this.enclosures.put(duplicate.id, enclosure)
  }

  async #accept(
    envelope: CommandEnvelope,
    aggregate: AnyAggregate,
    keysOf: string,
    print: string,
  ): Promise<Accepted | undefined> {
    const { id, namespace, idempotencyKey: key } = envelope
    const options: AppendOptions =
      key === undefined ? {} : { idempotency: { namespace: keysOf, key, value: ledgerValue(envelope, print) } }
    const isForWorker = this.#isQueued(envelope.type) && !isLate(envelope)
    // Accepted and begun are one append where a worker is free.
    using reservation = isForWorker ? this.#reserve(envelope) : undefined
    if (reservation) options.fence = { commandId: id, take: true }
    for (let attempt = 0; attempt < CONFLICTS_MAX; attempt++) {
      const facts: Fact[] = [command.fact(id, 'command.accepted', { command: envelope })]
      if (reservation) facts.push(command.fact(id, 'command.started', { attempt: 1, worker: reservation.worker }))
      else if (!isForWorker) facts.push(...this.#decideNow(envelope, aggregate))
      const appended = await this.#log.append(this.#log.changesOf(facts, namespace), causeOf(envelope), options)
      if (appended.outcome === 'written') {
        reservation?.begin(appended.first)
        return undefined
      }
      if (appended.outcome === 'duplicate') return duplicateOf(appended.value, print, envelope)
    }
    throw new PurserError('aborted', `${envelope.type} ${envelope.subject}: too many concurrent changes`, {
      remedy: 'try again',
    })
  }

  /** Facts and outcome of a command on a pure record, and of one that comes too late. */
  #decideNow(envelope: CommandEnvelope, aggregate: AnyAggregate): Fact[] {
    const { id, namespace, subject, deadline } = envelope
    if (isLate(envelope)) {
      const error = new PurserError('deadline_exceeded', `its deadline, ${deadline}, had passed when it came`, {
        remedy: 'send it again with a later one',
      })
      return [command.fact(id, 'command.failed', { error: error.toBody(), durationMs: 0 })]
    }
    const { state } = this.#log.documents.read(aggregate.name, namespace, subject)
    const decision = aggregate.decide(state, envelope, this.#log.documents)
    if (isRefusal(decision)) {
      return [command.fact(id, 'command.failed', { error: decision.refused, durationMs: 0 })]
    }
    const facts: Fact[] = decision.map((event) => ({ aggregate: aggregate.name, id: subject, ...event }))
    return [...facts, command.fact(id, 'command.succeeded', { result: { subject }, durationMs: 0 })]
  }

  /** Namespaces come to be by being used, as in containerd. */
  async #ensureNamespace(envelope: CommandEnvelope): Promise<void> {
    const { namespace: name } = envelope
    if (envelope.aggregate === 'namespace') return
    const known = this.#log.documents.get(namespaces, name, name)
    if (known.status === 'present') return
    const change = this.#log.changesOf([namespaces.fact(name, 'namespace.created', { labels: {} })], name)
    await this.#log.append(change, causeOf(envelope)) // On a conflict it exists by now.
  }

  #subject(request: { type: string; subject?: string | undefined; namespace: string }): string | undefined {
    if (request.subject === undefined && CREATES_ITS_SUBJECT.has(request.type)) return randomContainerId()
    return request.subject
  }
}

/** A step needs what its command was given. */
function enclosedIn({ registryAuth, parent }: Submitter): Pick<CommandEnvelope, 'enclosed'> {
  if (registryAuth) return { enclosed: 'registry-auth' }
  return parent?.enclosed === undefined ? {} : { enclosed: parent.enclosed }
}

const isLate = ({ deadline, issuedAt }: CommandEnvelope): boolean =>
  deadline !== undefined && Date.parse(deadline) <= Date.parse(issuedAt)

export const causeOf = (envelope: CommandEnvelope): Cause => ({
  commandId: envelope.id,
  correlationId: envelope.correlationId,
  actor: envelope.actor,
  traceparent: envelope.traceparent,
})

/** What must be equal for a repeated request to be the same request, however it is written. */
function fingerprint(type: string, subject: string | undefined, payload: unknown): string {
  const text = JSON.stringify([type, subject, payload], (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
  return createHash('sha256').update(text).digest('base64url').slice(0, 22)
}

const ledgerValue = ({ id, subject }: CommandEnvelope, print: string): string => `${id} ${print} ${subject}`

/**
 * What the ledger has for a command that was accepted with an idempotency key, made again from its record. The record does
 * not say whether its subject was made up: one that looks so is taken for it; nor in which namespace a command on a namespace
 * was asked for: `default` is. Where that is wrong, a repeated request is refused, and nothing is done twice.
 */
export function ledgerOf(envelope: CommandEnvelope, key: string) {
  const { type, subject, aggregate, payload } = envelope
  const isMadeUp = CREATES_ITS_SUBJECT.has(type) && isRandomContainerId(subject)
  return {
    namespace: aggregate === 'namespace' ? 'default' : envelope.namespace,
    key,
    value: ledgerValue(envelope, fingerprint(type, isMadeUp ? undefined : subject, payload)),
  }
}

function duplicateOf(value: string, print: string, envelope: CommandEnvelope): Accepted {
  const [id = '', usedFor, ...subject] = value.split(' ')
  if (usedFor === print) return { id, namespace: envelope.namespace, subject: subject.join(' '), duplicate: true }
  throw new PurserError(
    'already_exists',
    `idempotency key ${JSON.stringify(envelope.idempotencyKey)} was used for another request, command ${id}`,
    { remedy: 'use a new key for a new request', field: 'idempotencyKey' },
  )
}

function unknownType(type: string): PurserError {
  const known = [...commandTypes.keys()].sort().join(', ')
  return new PurserError('invalid_argument', `${JSON.stringify(type)} is not a command type`, {
    remedy: `use one of ${known}`,
    field: 'type',
  })
}

/** For start-up: that every type routed to a worker is a command of some aggregate. */
export function checkRoutes(types: Iterable<string>): void {
  for (const type of types) if (!commandTypes.has(type)) throw new Error(`${type}: a handler without a command`)
  for (const each of aggregates.values()) if (each.name.includes('/')) throw new Error(`aggregate name ${each.name}`)
}
