import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode, watch } from '../../support/cli.ts'

describe('purser run, as a docker user has it', () => {
  let at: CliNode
  let image: string
  before(async () => {
    at = await startCliNode()
    image = at.image
  })
  after(() => at[Symbol.asyncDispose]())

  const run = (...args: string[]) => at.cli('run', '--rm', ...args)
  const ok = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await run(...args)
    assert.equal(exitCode, 0, stderr)
    return stdout
  }

  test('streams stay apart, the exit code is the container’s, and --rm leaves nothing', async () => {
    const ran = await run(image, 'sh', '-c', 'echo out; echo err >&2; exit 7')
    assert.deepEqual(ran, { exitCode: 7, stdout: 'out\n', stderr: 'err\n' })
    assert.equal((await at.cli('ps', '-a', '-q')).stdout, '')
  })

  test('any bytes pass unchanged, also through logs', async () => {
    await at.cli('run', '--name', 'bytes', image, 'printf', 'a\\rb\\nc\\342\\200\\250d\\n\\000end')
    const { stdout } = await at.cli('logs', 'bytes')
    assert.equal(stdout, 'a\rb\nc\u2028d\n\0end')
    assert.equal((await at.cli('rm', 'bytes')).stdout, 'bytes\n')
  })

  test('standard input reaches it with -i, up to its end', async () => {
    const child = at.node.spawnCli('run', '--rm', '-i', image, 'sha256sum')
    const bytes = Buffer.alloc(3_000_000, 'purser ')
    child.stdin.end(bytes)
    let stdout = ''
    for await (const chunk of child.stdout ?? []) stdout += chunk
    const { createHash } = await import('node:crypto')
    assert.equal(stdout, `${createHash('sha256').update(bytes).digest('hex')}  -\n`)
  })

  test('what is piped into exec and attach ends their input, and output goes on', async () => {
    const afterInput = ['sh', '-c', 'wc -c; echo after >&2; exit 6']
    await at.cli('run', '-d', '-i', '--name', 'takes', image, ...afterInput)
    await at.cli('run', '-d', '--name', 'host', image, 'sleep', '1000')
    const exec = at.node.spawnCli('exec', '-i', 'host', ...afterInput)
    const attach = at.node.spawnCli('attach', 'takes')
    for (const child of [exec, attach]) {
      const seen = watch(child)
      child.stdin.end(Buffer.alloc(700_000, 'purser '))
      const { exitCode, stdout, stderr } = await seen.closed
      assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 6, stdout: '700000\n', stderr: 'after\n' })
    }
    await at.cli('rm', '-f', 'host', 'takes')
  })

  test('a process that takes no notice of its input ends as it likes', async () => {
    const child = at.node.spawnCli('run', '--rm', '-i', image, 'sh', '-c', 'echo bye; exit 3')
    child.stdin.on('error', () => {}) // It is closed before all is written.
    child.stdin.end(Buffer.alloc(2_000_000))
    let stdout = ''
    for await (const chunk of child.stdout ?? []) stdout += chunk
    assert.equal(stdout, 'bye\n')
    assert.equal(child.exitCode ?? (await new Promise((done) => child.once('close', done))), 3)
  })

  test('-e, --env-file, -w, -u, --entrypoint and --hostname set the process up', async () => {
    const file = `${at.node.dir}/env`
    await writeFile(file, '# comment\n\nA=file\nB= with spaces \nPATH_LIKE=a=b\nHOME\n')
    const env = await ok('-e', 'A=line', '-e', 'HOME', '--env-file', file, image, 'env')
    assert.match(env, /^A=line$/m)
    assert.match(env, /^B= with spaces $/m)
    assert.match(env, /^PATH_LIKE=a=b$/m)
    assert.match(env, new RegExp(`^HOME=${process.env.HOME}$`, 'm'))
    assert.equal(await ok('-w', '/tmp', image, 'sh', '-c', 'echo $PWD'), '/tmp\n')
    assert.equal(await ok('-u', 'user', image, 'sh', '-c', 'id -u; id -g'), '1000\n1000\n')
    assert.equal(await ok('-u', '5:6', image, 'sh', '-c', 'id -u; id -g'), '5\n6\n')
    assert.equal(await ok('--entrypoint', 'echo', image, 'a', '-n'), 'a -n\n')
    assert.equal(await ok('--hostname', 'here', image, 'hostname'), 'here\n')
  })

  test('-v and --mount bind, read-only where asked, and make a tmpfs', async () => {
    const { dir } = at.node
    await writeFile(`${dir}/given`, 'content')
    assert.equal(await ok('-v', `${dir}/given:/given`, image, 'cat', '/given'), 'content')
    const refused = await run('-v', `${dir}/given:/given:ro`, image, 'sh', '-c', 'echo x >/given')
    assert.match(refused.stderr, /Read-only file system/)
    const bound = `type=bind,src=${dir}/given,dst=/g,readonly`
    assert.match((await run('--mount', bound, image, 'sh', '-c', 'echo x >/g')).stderr, /Read-only file system/)
    const mounts = await ok('--mount', 'type=tmpfs,target=/t,tmpfs-size=64k', image, 'mount')
    assert.match(mounts, /tmpfs on \/t .*size=64k/)
  })

  test('--memory, --cpus, --pids-limit, --label, --priority, --stop-signal and --read-only are in what inspect tells', async () => {
    const options = ['--memory', '64m', '--cpus', '0.5', '--pids-limit', '20', '--stop-signal', 'SIGINT', '--read-only']
    const made = await at.cli(
      'create',
      '--name',
      'full',
      ...options,
      '-l',
      'a=b',
      '--label',
      'c',
      '--priority',
      '7',
      image,
    )
    assert.equal(made.stdout, 'full\n', made.stderr)
    const [full] = JSON.parse((await at.cli('inspect', 'full')).stdout)
    assert.deepEqual(full.options.resources, { memoryBytes: 64 * 1024 * 1024, cpus: 0.5, pidsLimit: 20 })
    assert.deepEqual(full.labels, { a: 'b', c: '' })
    assert.equal(full.options.stopSignal, 'SIGINT')
    assert.equal(full.options.readOnlyRoot, true)
    const commands = JSON.parse(
      (await at.cli('command', 'ls', '--type', 'container.provision', '--format', 'json')).stdout,
    )
    assert.equal(commands[0].priority, 7)
    await at.cli('rm', 'full')
  })

  test('--timeout kills it, and ps says why', async () => {
    const ran = await at.cli('run', '--name', 'late', '--timeout', '300ms', image, 'sleep', '100')
    assert.equal(ran.exitCode, 137)
    assert.match((await at.cli('ps', '-a')).stdout, /^late .*Exited \(137\).*timeout$/m)
    await at.cli('rm', 'late')
  })

  test('--idempotency-key runs once, however often it is asked', async () => {
    const first = await at.cli('run', '--name', 'once', '--idempotency-key', 'k', image, 'echo', 'ran')
    assert.equal(first.stdout, 'ran\n')
    const again = await at.cli('run', '--name', 'once', '--idempotency-key', 'k', image, 'echo', 'ran')
    assert.deepEqual(again, first)
    const events = await at.cli(
      'events',
      '--filter',
      'type=task.started',
      '--filter',
      'container=once',
      '--format',
      'ndjson',
    )
    assert.equal(events.stdout.trim().split('\n').length, 1)
    const other = await at.cli('run', '--name', 'once', '--idempotency-key', 'k', image, 'echo', 'other')
    assert.equal(other.exitCode, 125)
    assert.match(other.stderr, /idempotency key "k" was used for another request/)
    await at.cli('rm', 'once')
  })

  test('-d prints the id; stop, start, wait, kill, pause, unpause and rm do the rest', async () => {
    assert.equal((await at.cli('run', '-d', '--name', 'life', image, 'sleep', '1000')).stdout, 'life\n')
    assert.match((await at.cli('ps')).stdout, /^life .*Up/m)
    assert.equal((await at.cli('pause', 'life')).exitCode, 0)
    assert.match((await at.cli('ps')).stdout, /^life .*Paused/m)
    assert.equal((await at.cli('unpause', 'life')).exitCode, 0)
    assert.equal((await at.cli('stop', '-t', '0', 'life')).stdout, 'life\n')
    assert.equal((await at.cli('wait', 'life')).stdout, '137\n')
    assert.equal((await at.cli('ps', '-q')).stdout, '')
    assert.equal((await at.cli('start', 'life')).stdout, 'life\n')
    const refused = await at.cli('rm', 'life')
    assert.equal(refused.exitCode, 65)
    assert.match(refused.stderr, /^purser: container life is running; purser stop life first, or rm -f\n$/)
    assert.equal((await at.cli('rm', '-f', 'life')).stdout, 'life\n')
  })

  test('exec gives output and exit code, however short the process is', async () => {
    await at.cli('run', '-d', '--name', 'host', image, 'sleep', '1000')
    for (let attempt = 0; attempt < 5; attempt++) {
      const { exitCode, stdout, stderr } = await at.cli('exec', 'host', 'sh', '-c', 'echo out; echo err >&2; exit 9')
      assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 9, stdout: 'out\n', stderr: 'err\n' })
    }
    assert.equal(
      (await at.cli('exec', '-e', 'A=1', '-w', '/tmp', 'host', 'sh', '-c', 'echo $A $PWD')).stdout,
      '1 /tmp\n',
    )
    assert.equal((await at.cli('exec', 'host', 'nosuch')).exitCode, 127)
    assert.equal((await at.cli('exec', 'host', '/etc/passwd')).exitCode, 126)
    assert.equal((await at.cli('exec', '-d', 'host', 'touch', '/tmp/made')).exitCode, 0)
    await at.cli('rm', '-f', 'host')
    assert.equal((await at.cli('exec', 'host', 'true')).exitCode, 125)
  })

  test('of a container that has the name already nothing is shown', async () => {
    await at.cli('run', '-d', '--name', 'taken', image, 'sh', '-c', 'echo secret; exec sleep 1000')
    const second = await at.cli('run', '--name', 'taken', image, 'echo', 'mine')
    assert.deepEqual(second, {
      exitCode: 125,
      stdout: '',
      stderr: 'purser: container taken exists in namespace default; choose another name, or purser rm taken\n',
    })
    await at.cli('rm', '-f', 'taken')
  })

  test('what never ran ends with 125, 126 or 127, and leaves no container', async () => {
    assert.equal((await run(image, 'nosuch')).exitCode, 127)
    assert.equal((await run(image, '/etc/passwd')).exitCode, 126)
    assert.equal((await at.cli('run', '--runtime', 'nosuch', image, 'true')).exitCode, 125)
    assert.equal((await at.cli('run', '--runtime', 'io.containerd.nosuch.v9', image, 'true')).exitCode, 125)
    const absent = await run('--pull', 'never', 'nosuch.local/x', 'true')
    assert.equal(absent.exitCode, 125)
    assert.match(absent.stderr, /image nosuch\.local\/x:latest is not in namespace default; purser pull nosuch/)
    assert.equal((await at.cli('ps', '-a', '-q')).stdout, '')
  })
})
