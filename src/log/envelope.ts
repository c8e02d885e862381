import type { AnyAggregate } from '../model/aggregate.ts'
import { PurserError } from '../model/errors.ts'
import type { Cause, EventEnvelope } from '../model/event.ts'
import { uuidv7 } from '../model/ids.ts'

export interface Occurrence {
  node: string
  namespace: string
  /** Of the aggregate instance. */
  id: string
  type: string
  data: unknown
  cause: Cause
  /** RFC 3339, UTC. */
  time: string
}

/** An event as it is stored, before it has a position; `json` is the same as text. */
export function recordOf(aggregate: AnyAggregate, occurrence: Occurrence): { envelope: EventEnvelope; json: string } {
  const { node, namespace, id, type, data, cause, time } = occurrence
  const known = aggregate.events[type]
  if (!known) throw new PurserError('internal', `${type} is no event of ${aggregate.name}`)
  const attributes = {
    specversion: '1.0' as const,
    id: uuidv7(),
    source: `/nodes/${node}`,
    type,
    subject: `${aggregate.name}/${id}`,
    time,
    namespace,
    aggregate: aggregate.name,
    commandid: cause.commandId,
    correlationid: cause.correlationId,
    actor: cause.actor,
    ...(cause.traceparent === undefined ? {} : { traceparent: cause.traceparent }),
    schema: known.version,
  }
  const dataJson = JSON.stringify(known.data.parse(data))
  return {
    // Through JSON, so that what is folded now is what a later reader folds.
    envelope: { ...attributes, data: JSON.parse(dataJson) },
    json: `${JSON.stringify(attributes).slice(0, -1)},"data":${dataJson}}`,
  }
}

export const envelopeOf = (aggregate: AnyAggregate, occurrence: Occurrence): EventEnvelope =>
  recordOf(aggregate, occurrence).envelope
