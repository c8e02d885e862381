import { createHash } from 'node:crypto'
import { closeSync, fstatSync } from 'node:fs'
import { mkdir, open as openFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { ARTIFACT_FILES_MAX, type JobArtifact, job } from '../../../commands/job.ts'
import { artifactPath } from '../../../commands/job-spec.ts'
import { type ByteString, byteString } from '../../../host/byte-paths.ts'
import { openInRoot, openRoot } from '../../../host/open-in-root.ts'
import { type TreeEntry, walkTree } from '../../../host/tree-walk.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
import { defineTaskHandler } from '../effects.ts'
import { artifactPattern } from './artifact-pattern.ts'
import { attemptFiles, chunksOf } from './files.ts'

/** Looked at before others have their turn: a workspace may be large. */
const ENTRIES_IN_A_ROW = 256

/** Copies what the job names out of its workspace. Nothing of the attempt runs any more. */
export const collectArtifacts = defineTaskHandler(job, 'job.collect', async (saga) => {
  const { id, namespace, payload, effects, signal, state } = saga
  saga.decide()
  if (state.status !== 'running') return { facts: [] }
  const { workspace, artifacts: to } = attemptFiles(effects.paths, namespace, id, payload.attempt)
  await rm(to, { recursive: true, force: true }) // Of an attempt at this command that was cut off.
  await mkdir(to, { recursive: true })
  using root = { fd: openRoot(workspace), [Symbol.dispose]: () => closeSync(root.fd) }
  const kept = new Map<string, JobArtifact>()
  const missing: string[] = []
  let skipped = 0
  let bytes = 0
  let seen = 0
  for (const { path } of state.spec.artifacts) {
    let isThere = false
    for (const { path: at, fd: found, status } of meant(root.fd, byteString(path))) {
      if (++seen % ENTRIES_IN_A_ROW === 0) await setImmediate()
      signal.throwIfAborted()
      if (at === undefined) continue
      isThere = true
      if (status.isDirectory()) continue
      const name = textOf(at)
      if (name !== undefined && kept.has(name)) continue // Of another artifact too.
      // A symlink is kept as the file within the workspace that it leads to.
      using target = status.isSymbolicLink() ? open(root.fd, at) : undefined
      const { fd } = target ?? { fd: found }
      const stats = fstatSync(fd)
      if (name === undefined || !stats.isFile()) {
        skipped += 1
        continue
      }
      bytes += stats.size
      if (bytes > effects.jobs.artifactBytes || kept.size >= ARTIFACT_FILES_MAX)
        throw tooMuch(id, effects.jobs.artifactBytes)
      kept.set(name, { path: name, ...(await copy(fd, join(to, name), signal)) })
    }
    if (!isThere) missing.push(path)
  }
  const collected = { artifacts: [...kept.values()], skipped, missing }
  return { facts: [job.fact(id, 'job.artifacts-collected', { ...payload, ...collected })] }
})

/** What there is below an artifact's path; of what its pattern does not mean, without a path. */
function* meant(root: number, pattern: ByteString): Generator<Omit<TreeEntry, 'path'> & { path?: ByteString }> {
  const { from, takes } = artifactPattern(pattern)
  using start = open(root, from)
  if (start === undefined) return
  for (const { path: below, ...entry } of walkTree(start.fd)) {
    const path = [from, below].filter((part) => part !== '').join('/')
    yield takes(path) ? { path, ...entry } : entry
  }
}

/** What a path in the workspace leads to, open for nothing but its name; undefined when it leads nowhere. */
function open(root: number, path: ByteString): ({ fd: number } & Disposable) | undefined {
  try {
    const fd = openInRoot(root, path, 'follow')
    return { fd, [Symbol.dispose]: () => closeSync(fd) }
  } catch (error) {
    const code = errorCodeOf(error)
    if (code === 'not_found' || code === 'failed_precondition') return undefined
    throw error
  }
}

/** A path as an artifact may have it; undefined for one that is no text. */
function textOf(path: ByteString): string | undefined {
  const text = Buffer.from(path, 'latin1').toString()
  return byteString(text) === path && artifactPath.safeParse(text).success ? text : undefined
}

async function copy(fd: number, to: string, signal: AbortSignal): Promise<Omit<JobArtifact, 'path'>> {
  await mkdir(dirname(to), { recursive: true })
  const hash = createHash('sha256')
  let sizeBytes = 0
  const from = await openFile(`/proc/self/fd/${fd}`, 'r')
  await using file = await openFile(to, 'wx', 0o600)
  for await (const chunk of chunksOf(from, signal)) {
    hash.update(chunk)
    await file.writeFile(chunk)
    sizeBytes += chunk.length
  }
  return { sizeBytes, digest: `sha256:${hash.digest('hex')}` }
}

const tooMuch = (id: string, bytes: number): PurserError =>
  new PurserError(
    'resource_exhausted',
    `the artifacts of job ${id} are more than ${ARTIFACT_FILES_MAX} files or ${bytes} bytes`,
    { remedy: 'have a step pack them into one file, or raise artifactBytes of [jobs] in the configuration' },
  )
