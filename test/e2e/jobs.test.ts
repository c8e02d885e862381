import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { execa } from 'execa'
import { z } from 'zod'
import { type CliNode, startCliNode, watch } from '../support/cli.ts'
import { checkBooks, eventually } from '../support/faults.ts'
import { startProxy } from '../support/proxy.ts'
import { ROOT } from '../support/sources.ts'

const stepSchema = z.object({
  name: z.string(),
  container: z.string().optional(),
  status: z.string(),
  exitCode: z.number().optional(),
  reason: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  timings: z.record(z.string(), z.number()).optional(),
})
const jobSchema = z.object({
  id: z.string(),
  status: z.string(),
  exitCode: z.number().optional(),
  reason: z.string().optional(),
  failure: z
    .object({
      step: z.number().optional(),
      exitCode: z.number().optional(),
      error: z.object({ code: z.string(), message: z.string() }),
    })
    .optional(),
  timings: z.object({ queuedMs: z.number().optional(), ranMs: z.number().optional(), totalMs: z.number().optional() }),
  attempts: z.array(z.object({ command: z.string(), steps: z.array(stepSchema), skipped: z.number().optional() })),
  artifacts: z.array(z.object({ path: z.string(), sizeBytes: z.number(), digest: z.string() })),
})

let at: CliNode
before(async () => {
  at = await startCliNode({
    config: '[jobs]\natOnce = 2',
    env: { CANARY: 'canary-job-5d01', DEPLOY_TOKEN: 'canary-job-5d01' },
  })
})
after(() => at[Symbol.asyncDispose]())

const submit = async (job: object, headers: Record<string, string> = {}) => {
  const answer = await at.node.http('POST', '/v1/jobs', { image: at.image, ...job }, headers)
  assert.ok(answer.status === 200 || answer.status === 202, answer.text)
  return jobSchema.parse(answer.json)
}
const jobOf = async (id: string) => {
  const answer = await at.node.http('GET', `/v1/jobs/${id}`)
  assert.equal(answer.status, 200, answer.text)
  return jobSchema.parse(answer.json)
}
const ended = async (id: string) => {
  const answer = await at.node.http('GET', `/v1/jobs/${id}`, undefined, { prefer: 'wait=60' })
  const job = jobSchema.parse(answer.json)
  assert.ok(['succeeded', 'failed', 'cancelled'].includes(job.status), answer.text)
  return job
}
const logsOf = async (id: string, ...options: string[]) => (await at.cli('job', 'logs', id, ...options)).stdout
const containers = async () => (await at.cli('ps', '-a', '-q')).stdout
const run = (script: string, more: object = {}) => ({ steps: [{ run: script }], ...more })

describe('jobs', { timeout: 120_000 }, () => {
  test('steps share a workspace, and what they leave is kept: logs, artifacts, exit status, timings', async () => {
    const file = join(at.node.dir, 'job.yaml')
    const lines = [
      'name: build',
      `image: ${at.image}`,
      'env: {GREETING: hello, LEVEL: 3}',
      'secrets: [CANARY]',
      'artifacts:',
      '- out',
      '- path: report.txt',
      '  optional: true',
      'steps:',
      '- name: make',
      '  run: |',
      '    mkdir out',
      '    echo "$GREETING $LEVEL $PURSER_JOB_STEP" >out/greeting',
      '    ln -s /etc/passwd out/escape',
      '    ln -s greeting out/link',
      '    ln -s ../.. out/up',
      '    printf %s "$CANARY" | sha256sum | head -c 64',
      '- name: look',
      '  env: {GREETING: bye}',
      '  run: cat out/greeting; echo "$GREETING" >&2',
      '- name: may fail',
      '  continueOnError: true',
      '  run: exit 4',
    ]
    await writeFile(file, lines.join('\n'))
    const submitted = await at.cli('job', 'submit', '-f', file, '--id', 'build')
    assert.equal(submitted.exitCode, 0, submitted.stderr)
    assert.equal(submitted.stdout, 'build\n')
    const waited = await at.cli('job', 'wait', 'build')
    assert.deepEqual([waited.exitCode, waited.stdout], [0, 'succeeded\n'], waited.stderr)
    const job = await jobOf('build')
    assert.equal(job.exitCode, 0)
    assert.deepEqual(
      job.attempts.map(({ steps }) => steps.map(({ name, status, exitCode }) => [name, status, exitCode])),
      [
        [
          ['make', 'succeeded', 0],
          ['look', 'succeeded', 0],
          ['may fail', 'failed', 4],
        ],
      ],
    )
    for (const { timings } of job.attempts[0]?.steps ?? [])
      assert.deepEqual(Object.keys(timings ?? {}), ['createdMs', 'ranMs'])
    assert.deepEqual(Object.keys(job.timings), ['queuedMs', 'ranMs', 'totalMs'])
    const greeting = 'hello 3 1\n'
    const digest = `sha256:${createHash('sha256').update(greeting).digest('hex')}`
    assert.equal(job.attempts[0]?.skipped, 2, 'links that lead out of the workspace, and to a directory')
    assert.deepEqual(job.artifacts, [
      { path: 'out/greeting', sizeBytes: greeting.length, digest },
      { path: 'out/link', sizeBytes: greeting.length, digest },
    ])
    const secret = createHash('sha256').update('canary-job-5d01').digest('hex')
    const logs = await at.cli('job', 'logs', 'build')
    assert.equal(logs.stdout, `${secret}\n${greeting}`)
    assert.equal(logs.stderr, '==> step 1: make\n==> step 2: look\nbye\n')
    assert.equal(await logsOf('build', '--step', 'look'), greeting)
    const to = join(at.node.dir, 'artifacts')
    const written = await at.cli('job', 'artifacts', 'build', '-o', to)
    assert.equal(written.stdout, 'out/greeting\nout/link\n', written.stderr)
    assert.equal(await readFile(join(to, 'out/greeting'), 'utf8'), greeting)
    assert.equal(await containers(), '', 'no container of it is left')
    await assert.rejects(stat(join(at.node.root, 'jobs/default/build/1/workspace')), 'nor its workspace')
    assert.equal((await at.cli('job', 'rm', 'build')).stdout, 'build\n')
    await assert.rejects(stat(join(at.node.root, 'jobs/default/build')))
    assert.equal((await at.cli('job', 'show', 'build')).exitCode, 66)
  })

  test('a job ends at the first step that fails, as that step did', async () => {
    const steps = [{ run: 'echo one' }, { name: 'two', run: 'echo two; exit 7; echo no' }, { run: 'echo three' }]
    const { id } = await submit({ steps })
    const waited = await at.cli('job', 'wait', id)
    assert.equal(waited.exitCode, 7)
    assert.match(waited.stderr, /step 2 \(two\) exited with 7/)
    assert.deepEqual(
      (await jobOf(id)).attempts[0]?.steps.map(({ status }) => status),
      ['succeeded', 'failed', 'skipped'],
    )
    assert.equal(await logsOf(id), 'one\ntwo\n')
  })

  test('steps that ask for it run after one that has failed, or only then', async () => {
    const steps = [
      { run: 'exit 7' },
      { run: 'echo no' },
      { run: 'echo tell somebody', when: 'failure' },
      { run: 'echo tidy up; exit 3', when: 'always' },
    ]
    const { id } = await submit({ steps })
    const job = await ended(id)
    assert.deepEqual(
      job.attempts[0]?.steps.map(({ status }) => status),
      ['failed', 'skipped', 'succeeded', 'failed'],
    )
    assert.equal(job.failure?.step, 0, 'what failed first')
    assert.equal(await logsOf(id), 'tell somebody\ntidy up\n')
    const good = await ended((await submit({ steps: [{ run: 'true' }, { run: 'false', when: 'failure' }] })).id)
    assert.deepEqual(
      [good.status, good.attempts[0]?.steps.map(({ status }) => status)],
      ['succeeded', ['succeeded', 'skipped']],
    )
  })

  test('a workspace holds what the job says, and no more; artifacts are named by patterns', async () => {
    const { id } = await submit({
      workspaceSize: '32m',
      artifacts: ['out/*/report-*.txt', '**/*.log', { path: 'no*where', optional: true }],
      steps: [
        {
          run: 'ls; mkdir -p out/a out/b/c; echo a >out/a/report-1.txt; echo b >out/b/c/report-2.txt; echo l >out/b/c/x.log',
        },
        { run: 'head -c 64m /dev/zero >big || ls -d out big' },
      ],
    })
    const job = await ended(id)
    assert.equal(job.status, 'succeeded', JSON.stringify(job.failure))
    assert.equal(await logsOf(id), 'big\nout\n')
    assert.deepEqual(
      job.artifacts.map(({ path }) => path),
      ['out/a/report-1.txt', 'out/b/c/x.log'],
    )
    const mounts = await readFile('/proc/self/mountinfo', 'utf8')
    assert.ok(!mounts.includes(join(at.node.root, 'jobs')), 'its file system is gone with the attempt')
    assert.deepEqual(await readdir(join(at.node.root, 'jobs-sized')), [])
    const missing = await ended((await submit({ ...run('true'), artifacts: ['out/*'] })).id)
    assert.match(missing.failure?.error.message ?? '', /has no out\/\*, which is an artifact/)
  })

  test('what cannot be run fails and says why', async () => {
    const missing = await ended((await submit({ ...run('true'), artifacts: ['none'] })).id)
    assert.match(missing.failure?.error.message ?? '', /has no none, which is an artifact/)
    const program = await ended((await submit({ steps: [{ entrypoint: ['/no/such/program'] }] })).id)
    assert.match(program.failure?.error.message ?? '', /step 1 failed: .*\/no\/such\/program/)
    const written = await ended((await submit(run('touch /file', { options: { readOnlyRoot: true } }))).id)
    assert.equal(written.failure?.exitCode, 1)
    const image = await ended((await submit({ ...run('true'), image: 'localhost:1/nosuch', pull: 'never' })).id)
    assert.match(image.failure?.error.message ?? '', /image localhost:1\/nosuch:latest is not in namespace/)
    assert.equal(await containers(), '')
  })

  test('time runs out for a step, and for a job', async () => {
    const step = await ended((await submit({ steps: [{ run: 'sleep 60', timeout: '300ms' }] })).id)
    assert.deepEqual([step.status, step.failure?.error.code], ['failed', 'deadline_exceeded'])
    assert.equal(step.attempts[0]?.steps[0]?.reason, 'timeout')
    const job = await ended(
      (await submit({ ...run('trap "exit 3" TERM; while true; do sleep 0.1; done'), timeout: '1s' })).id,
    )
    assert.deepEqual([job.status, job.failure?.error.code], ['failed', 'deadline_exceeded'])
    assert.equal(job.attempts[0]?.steps[0]?.exitCode, 3, 'its process was asked to end')
  })

  test('a failed job is tried again in a new workspace, and each attempt is told of', async () => {
    const { id } = await submit({ ...run('ls; touch here; [ $PURSER_JOB_ATTEMPT = 2 ]'), retries: 3 })
    const job = await ended(id)
    assert.equal(job.status, 'succeeded')
    assert.deepEqual(
      job.attempts.map(({ steps }) => steps.map(({ exitCode }) => exitCode)),
      [[1], [0]],
    )
    assert.equal(await logsOf(id), '')
    const failed = await ended(
      (await submit({ steps: [{ name: 'try', run: 'exit 9' }, { run: 'no' }], retries: 1 })).id,
    )
    assert.deepEqual([failed.status, failed.exitCode, failed.attempts.length], ['failed', 9, 2])
    const why = (await at.cli('why', failed.id)).stdout.replaceAll(
      /^\S+ {2}job\/\w+,? ?| {2}\(event \d+\)$|\d+ ms/gm,
      '',
    )
    const attempt = ['step 2 was skipped', 'step 1 (try) failed with exit code 9 after ']
    assert.deepEqual(why.split('\n').slice(0, -2), [
      'failed: step 1 (try) exited with 9',
      ...attempt.map((said) => `attempt 2: ${said}`),
      "'s attempt 1 failed, to be tried again (retries: 1): step 1 (try) exited with 9",
      ...attempt.map((said) => `attempt 1: ${said}`),
    ])
    assert.match((await at.cli('history', failed.id)).stdout, /job\.failed {2}job\/\w+ {2}step 1 \(try\) exited with 9/)
  })

  test('a job is cancelled while it waits, and while it runs', async () => {
    const running = [
      await submit(run('echo up; sleep 60', { grace: '1s' })),
      await submit(run('sleep 60', { grace: '0s' })),
    ]
    for (const { id } of running)
      await eventually(
        () => jobOf(id),
        ({ attempts }) => attempts[0]?.steps.length === 1,
      )
    const labels = { batch: '7' }
    const batch = [await submit(run('echo never', { labels })), await submit(run('echo never', { labels }))]
    const waiting = await submit(run('echo never'))
    assert.equal(waiting.status, 'queued')
    const all = await at.cli('job', 'cancel', '--label', 'batch=7', '--status', 'queued', '--reason', 'a new batch')
    assert.deepEqual(all.stdout.trim().split('\n').sort(), batch.map(({ id }) => id).sort(), all.stderr)
    for (const { id } of batch) assert.equal((await jobOf(id)).reason, 'a new batch')
    assert.match((await at.cli('job', 'cancel')).stderr, /either jobs are named, or --status, --label or --group/)
    assert.equal((await at.node.http('POST', '/v1/jobs/cancel', {})).status, 400)
    assert.match(
      (await at.cli('why', waiting.id)).stdout,
      /waits: 2 of 2 places are taken, 2 of them by its namespace; it is the next/,
    )
    assert.match((await at.cli('why', running[0]?.id ?? '')).stdout, /runs: attempt 1, at step 1 /)
    for (const { id } of [waiting, ...running]) assert.equal((await at.cli('job', 'cancel', id)).stdout, `${id}\n`)
    assert.deepEqual([(await jobOf(waiting.id)).status, (await jobOf(waiting.id)).attempts], ['cancelled', []])
    for (const { id } of running) {
      const job = await ended(id)
      assert.deepEqual(
        [job.status, job.reason, job.attempts[0]?.steps[0]?.status],
        ['cancelled', 'cancelled by its submitter', 'cancelled'],
      )
      assert.equal((await at.cli('job', 'wait', id)).exitCode, 75)
    }
    assert.equal((await at.cli('job', 'cancel', waiting.id)).exitCode, 65)
    const [outcome = '', asked = ''] = (await at.cli('why', waiting.id)).stdout.split('\n')
    assert.match(outcome, /was cancelled: cancelled by its submitter/)
    assert.match(asked, /job\.cancel \w+ was asked for by unix:uid=0/)
    assert.equal(await containers(), '')
  })

  test('a job is cancelled while its image is pulled; where it is pulled, that time is told', async () => {
    const [registry = '', ...name] = at.image.split('/')
    await using proxy = await startProxy(registry)
    const held = Promise.withResolvers<boolean>()
    proxy.lie(({ path }) => path.includes('/manifests/') && held.promise)
    const image = [proxy.address, ...name].join('/')
    const { id } = await submit({ ...run('true'), image })
    await eventually(
      async () => proxy.seen.some(({ path }) => path.includes('/manifests/')),
      (isPulling) => isPulling,
    )
    assert.equal((await at.cli('job', 'cancel', id, '--reason', 'too slow')).exitCode, 0)
    const cancelled = await ended(id)
    assert.deepEqual([cancelled.status, cancelled.reason], ['cancelled', 'too slow'])
    held.resolve(false)
    const pulled = await ended((await submit({ ...run('true'), image })).id)
    assert.equal(pulled.status, 'succeeded')
    assert.deepEqual(Object.keys(pulled.attempts[0]?.steps[0]?.timings ?? {}), ['pulledMs', 'createdMs', 'ranMs'])
  })

  test('a deadline ends what runs and what waits, and the command that runs a job can be cancelled itself', async () => {
    const deadline = new Date(Date.now() + 1500).toISOString()
    const late = [1, 2, 3].map(() => submit(run('sleep 60', { deadline, grace: '0s' })))
    for (const { id } of await Promise.all(late)) {
      const job = await ended(id)
      assert.deepEqual([job.status, job.reason], ['cancelled', `its deadline, ${deadline}, has passed`])
    }
    const { id } = await submit(run('sleep 60', { grace: '0s' }))
    const { attempts } = await eventually(
      () => jobOf(id),
      (job) => job.attempts[0]?.steps.length === 1,
    )
    assert.equal((await at.cli('command', 'cancel', attempts[0]?.command ?? '')).exitCode, 0)
    const job = await ended(id)
    assert.equal(job.status, 'cancelled')
    assert.match(job.reason ?? '', /^cancelled by unix:uid=0/)
  })

  test('a job goes on over a restart of the daemon, with whoever follows it', async () => {
    const { id } = await submit({
      steps: [{ run: 'echo begun; while [ ! -e go ]; do sleep 0.1; done; echo more' }, { run: 'echo done' }],
      options: { readOnlyRoot: true },
      workspaceSize: '32m',
    })
    const workspace = join(at.node.root, 'jobs/default', id, '1/workspace')
    const following = watch(at.node.spawnCli('job', 'logs', '-f', id))
    await following.sees((stdout) => stdout.includes('begun'))
    await at.node.restart()
    await writeFile(join(workspace, 'go'), '')
    const { status, attempts } = await ended(id)
    assert.deepEqual([status, attempts.length], ['succeeded', 1])
    assert.equal((await following.closed).stdout, 'begun\nmore\ndone\n')
  })

  test('the same key is the same job, another request with it is refused', async () => {
    const headers = { 'idempotency-key': 'once' }
    const first = await submit(run('echo once'), headers)
    assert.equal((await submit(run('echo once'), { ...headers, prefer: 'wait=60' })).id, first.id)
    const other = await at.node.http('POST', '/v1/jobs', { image: at.image, ...run('echo twice') }, headers)
    assert.equal(other.status, 409)
  })

  test('a newer job of a group that says so takes the place of those before it', async () => {
    const concurrency = { group: 'deploy', cancelInProgress: true }
    const first = await submit(run('sleep 60', { concurrency, grace: '0s' }))
    await eventually(
      () => jobOf(first.id),
      ({ status }) => status === 'running',
    )
    const second = await submit(run('echo second', { concurrency: { group: 'deploy' } }))
    const third = await submit(run('echo third', { concurrency }))
    assert.equal((await ended(third.id)).status, 'succeeded')
    for (const { id } of [first, second]) {
      const job = await ended(id)
      assert.deepEqual(
        [job.status, job.reason],
        ['cancelled', `job ${third.id} of its concurrency group came after it`],
      )
    }
  })

  test('what the documentation shows does what it says', async () => {
    const page = await readFile(join(ROOT, 'docs/jobs.md'), 'utf8')
    const block = (kind: string) => new RegExp(`^\`\`\`${kind}\\n(.*?)^\`\`\`$`, 'ms').exec(page)?.[1] ?? ''
    const file = join(at.node.dir, 'shown.yaml')
    await writeFile(file, block('yaml').replaceAll(/(image: )\S+/g, `$1${at.image}`))
    const followed = await at.cli('job', 'submit', '-f', file, '--follow')
    assert.equal(followed.exitCode, 0, followed.stderr)
    assert.equal(followed.stdout, '1\n')
    assert.equal(followed.stderr, '==> step 2: lint\n')

    const script = block('sh')
      .replace(/^socket=.*$/m, `socket=${at.node.socketPath}`)
      .replace(/^image=.*$/m, `image=${at.image}`)
    const shown = await execa('bash', ['-e', '-c', script], { cwd: at.node.dir })
    assert.match(shown.stdout, /"status":"queued".*"status":"succeeded".* stdout F 42$/s)
    assert.equal(await readFile(join(at.node.dir, 'report.txt'), 'utf8'), '42\n')
    assert.equal((await at.cli('job', 'show', 'nightly-42')).exitCode, 66)

    const env = { PURSER_ADDRESS: at.node.socketPath, DEPLOY_TOKEN: 'canary-job-5d01' }
    const example = () => execa(process.execPath, [join(ROOT, 'examples/job.ts'), at.image, 'r7'], { env })
    const [one, other] = await Promise.all([example(), example()])
    assert.match(one.stdout, /^test \| it is as it should be$/m)
    assert.match(one.stdout, /^dist\/greeting\.txt \(\d+ bytes\): built from r7$/m)
    assert.match(one.stdout, /^succeeded after \d+ ms/m)
    assert.equal(one.stdout.split('\n')[0], other.stdout.split('\n')[0], 'one job for both')
  })

  test('bad input is refused by field, and a secret that is not sealed is not repeated', async () => {
    for (const [job, said] of [
      [{}, /steps: /],
      [{ steps: [] }, /steps: a job has a step at least/],
      [run('true', { nosuch: 1 }), /nosuch: /],
      [run('true', { timeout: '5 parsecs' }), /timeout: "5 parsecs".* is not a duration/],
      [{ steps: [{ run: 'true', args: ['x'] }] }, /steps\.0\.run: .*a step has run, or entrypoint and args/],
      [{ image: undefined, ...run('true') }, /steps\.0\.image: neither the step nor the job has an image/],
      [run('true', { workspaceSize: '1m' }), /workspaceSize: "1m": a size is 16777216 bytes/],
      [{ steps: [{ run: 'true', when: 'never' }] }, /steps\.0\.when: /],
      [run('true', { artifacts: ['../../etc/passwd'] }), /artifacts\.0.* below the workspace/],
      [run('true', { secrets: { TOKEN: 'plain-4711' } }), /secrets: "TOKEN" has no sealed value/],
    ] as const) {
      const answer = await at.node.http('POST', '/v1/jobs', { image: at.image, ...job })
      assert.equal(answer.status, 400, JSON.stringify(job))
      const { detail } = z.object({ detail: z.string() }).parse(answer.json)
      assert.match(detail, said)
      assert.ok(!answer.text.includes('plain-4711'))
    }
    await checkBooks(at.node)
  })
})
