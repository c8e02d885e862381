import { AsyncLocalStorage } from 'node:async_hooks'

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** An operation that begins. @see spans.ts for what they are called */
export interface SpanStart {
  name: string
  kind: 'server' | 'client' | 'producer' | 'consumer'
  attributes: Attributes
}

/** Why an operation failed: `type` is one of few, `message` may say more. */
export interface SpanFailure {
  type: string
  message?: string
}

export interface Span {
  /** What is handed on to whatever this operation leads to: a W3C traceparent, if there is a trace at all. */
  readonly traceparent: string | undefined
  set(attributes: Attributes): void
  end(failure?: SpanFailure): void
}

export interface Tracer {
  /** @param parent traceparent of what it is done for; without one a trace begins */
  start(span: SpanStart, parent: string | undefined): Span
}

/** Records nothing: what came with a request is handed on as it is. */
export const noTracing: Tracer = {
  start: (_span, parent) => ({ traceparent: parent, set: () => {}, end: () => {} }),
}

const current = new AsyncLocalStorage<string | undefined>()

/** The traceparent of the attempt on whose behalf this runs. */
export const currentTraceparent = (): string | undefined => current.getStore()

/** Runs with a traceparent that all it calls can ask for. */
export const withTraceparent = <T>(traceparent: string | undefined, run: () => T): T => current.run(traceparent, run)
