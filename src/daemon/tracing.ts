import type { Logger } from 'pino'
import { noTracing, type Tracer } from '../tracing/tracer.ts'
import type { Config } from './config.ts'

/** Spans go to where the configuration says. Without that the SDK, which takes memory and time, is not even loaded. */
export async function openTracer(
  { tracing: { endpoint, ratio, headers }, node }: Config,
  version: string,
  logger: Logger,
  stack: AsyncDisposableStack,
): Promise<Tracer> {
  if (endpoint === undefined) return noTracing
  const { OtlpTracer } = await import('../tracing/otel.ts')
  return stack.use(new OtlpTracer({ endpoint, ratio, headers, node, version, logger }))
}
