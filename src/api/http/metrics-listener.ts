import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { listenOn } from '../listen-address.ts'
import { METRICS_TYPES, type MetricsFormat, metricsFormat } from './daemon.ts'

/** A scraper needs one; some may be left by scrapers that have gone. */
const CONNECTIONS_MAX = 32
const REQUEST_MS = 10_000

/**
 * Serves /metrics over TCP, and nothing else, until disposed.
 *
 * @param address `HOST:PORT`; port 0 takes a free one
 * @param read the text; scrapes that come while one is being answered get the same
 * @throws PurserError unavailable when the address cannot be listened on
 */
export async function serveMetrics(
  address: string,
  read: (format: MetricsFormat) => Promise<string>,
  logger: Logger,
): Promise<AsyncDisposable> {
  const reading = new Map<MetricsFormat, Promise<string>>()
  const shared = (format: MetricsFormat): Promise<string> => {
    const known = reading.get(format)
    if (known) return known
    const text = read(format).finally(() => reading.delete(format))
    reading.set(format, text)
    return text
  }
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, async (request, response) => {
    const { method = '', url = '' } = request
    const answer = (status: number, text: string, headers: Record<string, string> = {}) => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers })
      response.end(text)
    }
    if (url.split('?')[0] !== '/metrics') return answer(404, 'only /metrics is served here\n')
    if (method !== 'GET') return answer(405, 'only GET is served here\n', { allow: 'GET' })
    const format = metricsFormat(request.headers.accept)
    try {
      answer(200, await shared(format), { 'content-type': METRICS_TYPES[format] })
    } catch (err) {
      logger.error({ err }, 'metrics could not be read')
      answer(500, 'the metrics could not be read; the log of the daemon says why\n')
    }
  })
  server.maxConnections = CONNECTIONS_MAX
  await listenOn(server, address, 'metrics.listen')
  const { address: host, port, family } = server.address() as AddressInfo
  logger.info({ address: family === 'IPv6' ? `[${host}]:${port}` : `${host}:${port}` }, 'serving metrics')
  return {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
