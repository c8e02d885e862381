/**
 * A CI job from a program of your own: submitted, followed, its artifacts taken.
 *
 *   node examples/job.ts IMAGE [REVISION]
 *
 * It may be killed and started again at any time: for one revision it is one job. PURSER_ADDRESS names another socket than
 * /run/purser/purser.sock. Ends as the job does.
 */
import { type JobRequest, PurserClient } from 'purser'

const [image = 'docker.io/library/alpine:3.20', revision = 'main'] = process.argv.slice(2)
const { PURSER_ADDRESS: socketPath } = process.env
const client = new PurserClient(socketPath === undefined ? {} : { socketPath })

// The value is sealed with a key of the node: no record of the job has it.
const secrets = await client.seal({ DEPLOY_TOKEN: process.env.DEPLOY_TOKEN ?? 'none' })

const job: JobRequest = {
  name: `build ${revision}`,
  image,
  env: { REVISION: revision },
  secrets,
  timeout: '10m',
  retries: 1,
  concurrency: { group: 'build', max: 2 },
  artifacts: ['dist'],
  steps: [
    { name: 'build', run: 'mkdir dist\necho "built from $REVISION" >dist/greeting.txt' },
    { name: 'test', run: 'grep -q "$REVISION" dist/greeting.txt && echo it is as it should be' },
    { name: 'sign', run: 'printf %s "$DEPLOY_TOKEN" | sha256sum >dist/signature' },
  ],
}

// Asked again with the same key it is the same job, also for another process.
const { id } = await client.jobs.submit(job, { idempotencyKey: `build/${revision}` })
console.log(`job ${id}`)

// Both go on over a restart of the daemon.
for await (const { stepName, text } of client.jobs.logs(id, { follow: true })) console.log(`${stepName} | ${text}`)
const ended = await client.jobs.ended(id)

for (const step of ended.attempts.at(-1)?.steps ?? [])
  console.log(`${step.name}: ${step.status}${'timings' in step ? `, ran for ${step.timings.ranMs} ms` : ''}`)
for (const { path, sizeBytes } of ended.artifacts) {
  const chunks = await Array.fromAsync(client.jobs.artifact(id, path))
  console.log(`${path} (${sizeBytes} bytes): ${Buffer.concat(chunks).toString().trim()}`)
}
console.log(`${ended.status} after ${ended.timings.totalMs} ms, of which it waited ${ended.timings.queuedMs}`)
process.exitCode = ended.status === 'succeeded' ? 0 : (ended.exitCode ?? 1)
