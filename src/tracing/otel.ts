import {
  type Attributes as ApiAttributes,
  type Span as ApiSpan,
  type Tracer as ApiTracer,
  type Context,
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import type { Secret } from '../model/secret.ts'
import { formatTraceparent, parseTraceparent } from '../model/traceparent.ts'
import type { Attributes, Span, SpanFailure, SpanStart, Tracer } from './tracer.ts'

export interface TracingOptions {
  /** Of a collector that takes OTLP over HTTP; spans go to `/v1/traces` below it. */
  endpoint: string
  /** Share of the traces that are recorded, where the asker does not record them itself. */
  ratio: number
  /** Sent along with the spans. */
  headers: Readonly<Record<string, Secret>>
  node: string
  version: string
  logger: Logger
}

const EXPORT_MS = 10_000
/** For what is left when the daemon stops. */
const STOPPING_MS = 2000

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const satisfies Record<SpanStart['kind'], SpanKind>

/**
 * Spans by OpenTelemetry's SDK, sent in batches. A collector that is away costs no more than a full queue: what does not fit
 * is dropped. This module is loaded only where tracing is asked for.
 */
export class OtlpTracer implements Tracer, AsyncDisposable {
  readonly #provider: TracerProvider
  readonly #tracer: ApiTracer
  readonly #report: (reason: string) => void

  constructor({ endpoint, ratio, headers, node, version, logger }: TracingOptions) {
    this.#report = reporter(logger)
    const exporter = new OTLPTraceExporter({
      url: tracesUrl(endpoint),
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.reveal()])),
      timeoutMillis: EXPORT_MS,
    })
    const byRatio = new TraceIdRatioBasedSampler(ratio)
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({
        'service.name': 'purser',
        'service.version': version,
        'service.instance.id': node,
        'host.name': node,
      }),
      // Our command line asks without recording anything itself: that is no wish that nobody should.
      sampler: new ParentBasedSampler({ root: byRatio, remoteParentNotSampled: byRatio }),
      spanProcessors: [new BatchSpanProcessor({ exporter, exportTimeoutMillis: EXPORT_MS })],
    })
    this.#tracer = this.#provider.getTracer('purser', version)
  }

  start({ name, kind, attributes }: SpanStart, parent: string | undefined): Span {
    const span = this.#tracer.startSpan(name, { kind: KINDS[kind], attributes: defined(attributes) }, contextOf(parent))
    return new OtlpSpan(span)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      this.#report('the collector does not answer, and the daemon stops')
      late.resolve()
    }, STOPPING_MS)
    await Promise.race([this.#provider.shutdown().catch(() => {}), late.promise]) // What failed was reported.
    clearTimeout(timer)
    diag.disable()
  }
}

class OtlpSpan implements Span {
  readonly traceparent: string
  readonly #span: ApiSpan

  constructor(span: ApiSpan) {
    this.#span = span
    const { traceId, spanId, traceFlags } = span.spanContext()
    this.traceparent = formatTraceparent({ traceId, spanId, flags: traceFlags })
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(defined(attributes))
  }

  end(failure?: SpanFailure): void {
    if (failure) {
      const { type, message } = failure
      this.#span.setAttribute('error.type', type)
      this.#span.setStatus({ code: SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) })
    }
    this.#span.end()
  }
}

function contextOf(parent: string | undefined): Context {
  const asked = parseTraceparent(parent)
  if (asked === undefined) return ROOT_CONTEXT
  const { traceId, spanId, flags } = asked
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: flags & 1, isRemote: true })
}

function defined(attributes: Attributes): ApiAttributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined))
}

function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint)
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/traces`
  return url.href
}

/** Puts what the SDK says of itself, which is mostly that a collector is away, into our log. */
function reporter(logger: Logger): (reason: string) => void {
  const report = (message: string) => logger.warn({ reason: message.slice(0, 500) }, 'traces could not be exported')
  const ignore = () => {}
  const sink = { error: report, warn: report, info: ignore, debug: ignore, verbose: ignore }
  diag.setLogger(sink, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  return report
}
