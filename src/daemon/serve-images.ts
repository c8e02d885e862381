import { createReadStream } from 'node:fs'
import type { Logger } from 'pino'
import { serveDistribution } from '../api/distribution/server.ts'
import type { ContentStore } from '../content/store.ts'
import type { EventLog } from '../log/event-log.ts'
import type { Intake } from '../queue/intake.ts'
import type { Config } from './config.ts'
import { readServeFiles } from './serve-config.ts'

const READ_BYTES = 256 * 1024

/** Where it is switched on. */
export async function serveImages(
  { registry: { serve } }: Config,
  { log, intake, content, logger }: { log: EventLog; intake: Intake; content: ContentStore; logger: Logger },
): Promise<AsyncDisposable | undefined> {
  if (!serve.enabled) return undefined
  const { address, namespace, upstream } = serve
  return await serveDistribution({
    ...readServeFiles(serve),
    log,
    intake,
    address,
    namespace,
    upstream,
    logger,
    blobs: {
      stat: (digest) => content.stat(digest),
      hold: (digest) => content.hold(digest),
      open: (digest, range) => createReadStream(content.path(digest), { ...range, highWaterMark: READ_BYTES }),
    },
  })
}
