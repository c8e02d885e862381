import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import { startRegistry, tarLayer } from '../../support/registry.ts'

describe('on a terminal', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  test('run -it hands keys on as typed and output as written, and restores the terminal', async () => {
    await using terminal = await at.terminal('run', '--rm', '-it', at.image, 'sh')
    await terminal.see('# ')
    assert.match(terminal.settings(), /-icanon/)
    assert.match(terminal.settings(), /-isig/)
    assert.match(terminal.settings(), /-opost/)
    terminal.type("printf 'a\\nb'; echo\r")
    await terminal.see('a\r\nb\r\n')
    terminal.type('echo go; cat\r')
    await terminal.see('go\r\n')
    terminal.type('echoed\r')
    await terminal.see('echoed\r\nechoed\r\n')
    terminal.type('\x03') // Ctrl-C is the container's.
    await terminal.see('# ')
    terminal.type('exit 5\r')
    await terminal.see('<ended>')
    assert.match(terminal.settings(), /(?<!-)\bicanon/)
    assert.match(terminal.settings(), /(?<!-)\bisig/)
    assert.match(terminal.settings(), /(?<!-)\bopost/)
    terminal.type('\n')
    assert.doesNotMatch(terminal.shown, /purser:/)
  })

  test('the container’s terminal has the size of ours, also when that changes', async () => {
    const code = 'trap "echo resized" WINCH; echo ready; while :; do sleep 0.1; done'
    await using terminal = await at.terminal('run', '--rm', '--name', 'sized', '-it', at.image, 'sh', '-c', code)
    await terminal.see('ready')
    terminal.resize(33, 101)
    await terminal.see('resized')
    const pid = JSON.parse((await at.cli('inspect', 'sized')).stdout)[0].task.pid
    const size = execFileSync('stty', ['-F', `/proc/${pid}/fd/0`, 'size'], { encoding: 'utf8' })
    assert.equal(size, '33 101\n')
    await at.cli('kill', 'sized')
    await terminal.see('<ended>')
  })

  test('ctrl-p,ctrl-q leaves it running, and attach comes back', async () => {
    await using first = await at.terminal('run', '-it', '--name', 'left', at.image, 'sh')
    await first.see('# ')
    first.type('\x10\x11')
    assert.equal(await first.exitCode, 0)
    assert.match((await at.cli('ps')).stdout, /^left .*Up/m)
    await using second = await at.terminal('attach', 'left')
    second.type('echo $((40 + 2))\r')
    await second.see('42')
    second.type('\x10x\x10\x11') // Half of the keys is for the shell.
    assert.equal(await second.exitCode, 0)
    await using third = await at.terminal('attach', '--detach-keys', 'ctrl-x,q', 'left')
    third.type('\x10\x11\r')
    await third.see('# ')
    third.type('\x18q')
    assert.equal(await third.exitCode, 0)
    assert.equal((await at.cli('rm', '-f', 'left')).exitCode, 0)
  })

  test('many are attached at once: all see the same, and who leaves disturbs nobody', async () => {
    assert.equal((await at.cli('run', '-d', '-it', '--name', 'shared', at.image, 'sh')).exitCode, 0)
    await using attached = new AsyncDisposableStack()
    const terminals = await Promise.all(Array.from({ length: 5 }, () => at.terminal('attach', 'shared')))
    for (const each of terminals) attached.use(each)
    // Who has seen an answer is attached.
    for (const [index, each] of terminals.entries()) {
      each.type(`echo $((${index} + 100))\r`)
      await each.see(`\r\n${index + 100}\r\n`)
    }
    const [first, ...others] = terminals
    first?.type('echo $((40 + 2))\r')
    for (const each of terminals) await each.see('\r\n42\r\n')
    for (const other of others.slice(1)) other.type('\x10\x11')
    for (const other of others.slice(1)) assert.equal(await other.exitCode, 0)
    first?.resize(30, 99)
    first?.type('echo $((200 + 1)); exit 3\r')
    await others[0]?.see('201\r\n')
    for (const each of [first, others[0]]) assert.equal(await each?.exitCode, 3)
    await at.cli('rm', 'shared')
  })

  test('exec -it has a terminal of its own', async () => {
    await at.cli('run', '-d', '--name', 'host', at.image, 'sleep', '1000')
    await using terminal = await at.terminal(
      'exec',
      '-it',
      'host',
      'sh',
      '-c',
      'test -t 0 && echo is-one; read x; exit $x',
    )
    await terminal.see('is-one')
    terminal.type('12\r')
    assert.equal(await terminal.exitCode, 12)
    await at.cli('rm', '-f', 'host')
  })

  test('without -t the second Ctrl-C kills what takes no notice of the first', async () => {
    await using terminal = await at.terminal('run', '--rm', at.image, 'sh', '-c', 'echo deaf; sleep 1000')
    await terminal.see('deaf')
    terminal.type('\x03')
    await terminal.see('purser: once more to kill it')
    terminal.type('\x03')
    assert.equal(await terminal.exitCode, 137)
  })

  test('pull draws bars, run too when the image is missing; a pipe gets plain lines', async () => {
    await using registry = await startRegistry()
    // Large enough that the daemon has something to tell before it is done.
    const layers = await Promise.all(
      [1, 2].map((at) => tarLayer([{ name: `blob${at}`, content: randomBytes(40_000_000) }])),
    )
    const { reference } = await registry.pushImage({ repository: 'large', tag: 'v1', layers, compression: 'none' })
    const forget = async () => {
      const removed = await at.cli('rmi', reference)
      assert.equal(removed.exitCode, 0, removed.stderr)
      assert.equal((await at.cli('gc')).exitCode, 0)
    }
    const bars = /[0-9a-f]{12} \w+ +\[=* *\] [\d.]+[kM]?B\/40MB\r\n/
    await using pull = await at.terminal('pull', reference)
    assert.equal(await pull.exitCode, 0)
    assert.match(pull.shown, bars)
    assert.match(pull.shown, /80MB fetched\r\n/)
    await forget()
    await using run = await at.terminal('run', '--rm', reference, '/nothing-in-it')
    assert.equal(await run.exitCode, 127)
    assert.match(run.shown, bars)
    await forget()
    const piped = await at.cli('pull', reference)
    assert.match(
      piped.stdout,
      /^(?:[0-9a-f]{12}: pulled \(40MB\)\n){2}sha256:[0-9a-f]{64}: 80MB fetched\n\S+large:v1\n$/,
    )
    assert.match((await at.cli('pull', reference)).stdout, /nothing to fetch/)
    assert.equal((await at.cli('pull', '-q', reference)).stdout, `${reference}\n`)
  })
})
