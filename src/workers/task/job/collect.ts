import { createHash } from 'node:crypto'
import { mkdir, open, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ARTIFACT_FILES_MAX, type JobArtifact, job } from '../../../commands/job.ts'
import { artifactPath } from '../../../commands/job-spec.ts'
import { type FoundFile, TreeInRoot } from '../../../host/tree-in-root.ts'
import { PurserError } from '../../../model/errors.ts'
import { defineTaskHandler } from '../effects.ts'
import { attemptFiles, chunksOf } from './files.ts'

/** Copies what the job names out of its workspace. Nothing of the attempt runs any more. */
export const collectArtifacts = defineTaskHandler(job, 'job.collect', async (saga) => {
  const { id, namespace, payload, effects, signal, state } = saga
  saga.decide()
  if (state.status !== 'running') return { facts: [] }
  const { workspace, artifacts: to } = attemptFiles(effects.paths, namespace, id, payload.attempt)
  await rm(to, { recursive: true, force: true }) // Of an attempt at this command that was cut off.
  await mkdir(to, { recursive: true })
  using tree = new TreeInRoot(workspace)
  const kept = new Map<string, JobArtifact>()
  const missing: string[] = []
  let bytes = 0
  for (const { path } of state.spec.artifacts) {
    const files = tree.files(path)
    if (files === undefined) {
      missing.push(path)
      continue
    }
    for (const found of files) {
      signal.throwIfAborted()
      if (kept.has(found.path)) continue // Below another artifact too.
      if (!artifactPath.safeParse(found.path).success) {
        tree.skipped += 1
        continue
      }
      bytes += found.stats.size
      if (bytes > effects.jobs.artifactBytes || kept.size >= ARTIFACT_FILES_MAX)
        throw tooMuch(id, effects.jobs.artifactBytes)
      kept.set(found.path, await copy(found, join(to, found.path), signal))
    }
  }
  const collected = { artifacts: [...kept.values()], skipped: tree.skipped, missing }
  return { facts: [job.fact(id, 'job.artifacts-collected', { ...payload, ...collected })] }
})

async function copy(found: FoundFile, to: string, signal: AbortSignal): Promise<JobArtifact> {
  await mkdir(dirname(to), { recursive: true })
  const hash = createHash('sha256')
  let sizeBytes = 0
  const from = await found.open()
  await using file = await open(to, 'wx', 0o600)
  for await (const chunk of chunksOf(from, signal)) {
    hash.update(chunk)
    await file.writeFile(chunk)
    sizeBytes += chunk.length
  }
  return { path: found.path, sizeBytes, digest: `sha256:${hash.digest('hex')}` }
}

const tooMuch = (id: string, bytes: number): PurserError =>
  new PurserError(
    'resource_exhausted',
    `the artifacts of job ${id} are more than ${ARTIFACT_FILES_MAX} files or ${bytes} bytes`,
    { remedy: 'have a step pack them into one file, or raise artifactBytes of [jobs] in the configuration' },
  )
