import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { PurserError } from '../model/errors.ts'
import { redisDir } from './books.ts'
import type { Config } from './config.ts'
import { startRedis } from './redis.ts'

/** Address of the Redis that the configuration names, or of the daemon's own, which is started. */
export async function redisUrl(
  config: Config,
  logger: Logger,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<string> {
  if (config.redis.url !== undefined) return config.redis.url
  const dir = join(config.state, 'redis')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const redis = await startRedis({
    binary: config.redis.binary,
    dataDir: redisDir(config.root),
    socketPath: join(dir, 'redis.sock'),
    logger,
    signal,
  })
  stack.defer(() => redis.stop())
  return redis.url
}

/** @param use `blocking` waits for ever, as BullMQ does; `calls` fails at once, and says so */
export function redisAt(url: string, use: 'blocking' | 'calls', logger: Logger): Redis {
  const patience =
    use === 'blocking' ? { maxRetriesPerRequest: null } : { maxRetriesPerRequest: 0, enableOfflineQueue: false }
  const redis = new Redis(url, {
    ...patience,
    lazyConnect: use === 'calls',
    retryStrategy: (times) => Math.min(50 * times, 1000),
  })
  redis.on('error', (err) => logger.debug({ err }, 'redis connection'))
  return redis
}

/** A connection for calls. @throws PurserError unavailable when nobody answers */
export async function connectRedis(url: string, logger: Logger, stack: AsyncDisposableStack): Promise<Redis> {
  const redis = redisAt(url, 'calls', logger)
  stack.defer(() => redis.disconnect())
  try {
    await redis.connect()
  } catch (cause) {
    throw new PurserError('unavailable', `Redis does not answer at ${url.startsWith('/') ? url : new URL(url).host}`, {
      cause,
      remedy: 'start it, or leave redis.url out',
    })
  }
  return redis
}
