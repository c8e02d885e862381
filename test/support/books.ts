import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { Archive } from '../../src/archive/archive.ts'
import { type Signer, verifierOf } from '../../src/archive/note.ts'
import { verifyArchive } from '../../src/archive/verify.ts'
import { aggregates } from '../../src/commands/index.ts'
import { namespace } from '../../src/commands/namespace.ts'
import type { EventLog } from '../../src/log/event-log.ts'
import { HeadWitness, headWitnessPath } from '../../src/log/head-witness.ts'
import { Sealer, type SealerOptions } from '../../src/log/sealer.ts'
import { StateSnapshots } from '../../src/log/state-snapshots.ts'
import { spontaneous } from '../../src/model/event.ts'
import { startLog } from './log.ts'

export const signer: Signer = { name: 'purser/nodes/test', key: generateKeyPairSync('ed25519').privateKey }

export const logger = pino({ level: 'silent' })

/** A log with an archive, and what seals the one into the other. */
export async function startBooks(options: Partial<SealerOptions> = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'log-'))
  const archive = await Archive.open(dir, signer)
  const witness = HeadWitness.open(headWitnessPath(dir))
  const books = await startLog({ sealed: archive, witness })
  const snapshots = await StateSnapshots.open({ dir: join(dir, 'states'), aggregates, every: 50, logger })
  const following = snapshots.follow(books.log)
  const sealerOf = (log: EventLog) =>
    new Sealer({
      log,
      archive,
      snapshots,
      redis: books.redis,
      segmentEvents: 100,
      segmentBytes: 1_000_000,
      segmentAgeMs: 3_600_000,
      tailEvents: 10,
      tailAgeMs: 3_600_000,
      logger,
      ...options,
    })
  return {
    ...books,
    dir,
    archive,
    snapshots,
    sealer: sealerOf(books.log),
    sealerOf,
    /** Appends events about so many namespaces. */
    async grow(count: number) {
      for (let each = 0; each < count; each++) {
        const fact = namespace.fact(`n${books.log.head + 1}`, 'namespace.created', { labels: {} })
        await books.log.record([fact], fact.id, spontaneous('test'))
      }
    },
    verify: () => verifyArchive({ dir, verifier: verifierOf(signer) }),
    async [Symbol.asyncDispose]() {
      following[Symbol.dispose]()
      witness[Symbol.dispose]()
      await archive[Symbol.asyncDispose]()
      await books[Symbol.asyncDispose]()
      await rm(dir, { recursive: true })
    },
  }
}
