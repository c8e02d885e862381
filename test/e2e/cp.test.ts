import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'

describe('purser cp, as a docker user has it', () => {
  let at: CliNode
  let dir: string
  before(async () => {
    at = await startCliNode()
    dir = at.node.dir
    mkdirSync(`${dir}/volume`)
    const script = 'mkdir -p /d/e && echo hello >/d/e/f && chmod 4750 /d/e/f && sleep 1000'
    await ok('run', '-d', '--name', 'c1', '-v', `${dir}/volume:/vol`, at.image, 'sh', '-c', script)
    while ((await at.cli('exec', 'c1', 'cat', '/d/e/f')).stdout !== 'hello\n') await at.cli('version')
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = (...args: string[]) => at.ok(...args)
  const refused = (...args: string[]) => at.refused(...args)

  test('out of a running container: into a directory, under another name, without setuid, content alone', async () => {
    await ok('cp', 'c1:/d/e/f', `${dir}/new`)
    assert.equal(readFileSync(`${dir}/new`, 'utf8'), 'hello\n')
    assert.equal(statSync(`${dir}/new`).mode & 0o7777, 0o750)
    mkdirSync(`${dir}/into`)
    await ok('cp', '-a', 'c1:/d', `${dir}/into`)
    assert.equal(statSync(`${dir}/into/d/e/f`).mode & 0o7777, 0o4750)
    await ok('cp', 'c1:d/e/.', `${dir}/content`)
    assert.equal(readFileSync(`${dir}/content/f`, 'utf8'), 'hello\n')
    assert.match(await refused('cp', 'c1:/nothing', dir), /there is no "\/nothing"/)
    assert.match(await refused('cp', 'c1:/proc/version', dir), /purser exec/)
    assert.match(await refused('cp', 'nobody:/x', dir), /container nobody is not in namespace default/)
    assert.match(await refused('cp', 'c1:/d', 'c1:/x'), /both sides are containers/)
  })

  test('into it: new names, over files, into directories and volumes; a link that leads out stays inside', async () => {
    mkdirSync(`${dir}/tree/sub`, { recursive: true })
    writeFileSync(`${dir}/tree/sub/file`, 'from here')
    chmodSync(`${dir}/tree/sub/file`, 0o640)
    symlinkSync('sub/file', `${dir}/tree/link`)
    await ok('cp', `${dir}/tree`, 'c1:/d')
    await ok('cp', `${dir}/tree/.`, 'c1:/fresh')
    await ok('cp', `${dir}/tree/sub/file`, 'c1:/vol/')
    const look = 'cat /d/tree/link /fresh/link /vol/file; stat -c %a:%u /d/tree/sub/file'
    assert.equal(await ok('exec', 'c1', 'sh', '-c', look), `${'from here'.repeat(3)}640:0`)
    assert.equal(readFileSync(`${dir}/volume/file`, 'utf8'), 'from here')
    await ok('cp', '-L', `${dir}/tree/link`, 'c1:/d/e/f')
    assert.equal(await ok('exec', 'c1', 'cat', '/d/e/f'), 'from here')
    await ok('exec', 'c1', 'sh', '-c', `busybox ln -s ${dir} /out; mkdir -p ${dir}`)
    await ok('cp', `${dir}/tree/sub/file`, 'c1:/out/escaped')
    assert.equal(lstatSync(`${dir}/escaped`, { throwIfNoEntry: false }), undefined)
    assert.equal(await ok('exec', 'c1', 'cat', `${dir}/escaped`), 'from here')
    assert.match(await refused('cp', `${dir}/tree`, 'c1:/d/e/f'), /is a file/)
    assert.match(await refused('cp', `${dir}/tree/sub/file`, 'c1:/no/'), /there is no directory/)
    const copied = await at.node.http('GET', '/v1/events?type=container.copied', undefined, {
      accept: 'application/x-ndjson',
    })
    assert.equal(copied.text.trim().split('\n').length, 5)
  })

  test('a tar on a stream, both ways, also of a container that has ended; what is of its volumes is said', async () => {
    await ok('kill', 'c1')
    await ok('wait', 'c1')
    const out = at.node.spawnCli('cp', 'c1:/d', '-')
    const pieces: Buffer[] = []
    for await (const piece of out.stdout ?? []) pieces.push(piece)
    const back = at.node.spawnCli('cp', '-', 'c1:/tmp')
    back.stdin.end(Buffer.concat(pieces))
    assert.deepEqual(await once(back, 'exit'), [0, null])
    await ok('cp', 'c1:/tmp/d/tree', `${dir}/stopped`)
    assert.equal(readFileSync(`${dir}/stopped/link`, 'utf8'), 'from here')
    assert.match(await refused('cp', 'c1:/vol/file', dir), /start the container/)
    await ok('start', 'c1')
    assert.equal(await ok('exec', 'c1', 'cat', '/tmp/d/tree/link'), 'from here')
  })
})
