import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { type NodeOptions, startNode, type TestNode } from './daemon.ts'
import { startRegistry } from './registry.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export const LAUNCHER = join(import.meta.dirname, '../../bin/purser')

/** A daemon with a small image at hand, for tests of the command line. */
export interface CliNode extends AsyncDisposable {
  node: TestNode
  /** Pulled already. */
  image: string
  cli: TestNode['cli']
  /** What it prints, without the space around it; that it succeeds is asserted. */
  ok(...args: string[]): Promise<string>
  /** What it says when it fails, which is asserted too. */
  refused(...args: string[]): Promise<string>
  /** Removes every container. */
  removeAll(): Promise<void>
  /** The CLI on a terminal. */
  terminal(...args: string[]): Promise<Terminal>
}

export async function startCliNode(options: NodeOptions = {}): Promise<CliNode> {
  await using starting = new AsyncDisposableStack()
  const registry = starting.use(await startRegistry())
  const node = starting.use(await startNode(options))
  const image = await pushTinyImage({ registry: registry.address, repository: 'cli', tag: 'latest' })
  const pulled = await node.cli('pull', '-q', image)
  if (pulled.exitCode !== 0) throw new Error(pulled.stderr)
  const all = starting.move()
  const ok = async (...args: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await node.cli(...args)
    assert.equal(exitCode, 0, `purser ${args.join(' ')}: ${stderr}`)
    return stdout.trim()
  }
  return {
    node,
    image,
    cli: node.cli,
    ok,
    async refused(...args) {
      const { exitCode, stdout, stderr } = await node.cli(...args)
      assert.notEqual(exitCode, 0, `purser ${args.join(' ')}: ${stdout}`)
      return stderr
    },
    async removeAll() {
      const ids = (await ok('ps', '-aq')).split('\n').filter((id) => id !== '')
      if (ids.length > 0) await ok('rm', '-f', ...ids)
    },
    terminal: (...args) => openTerminal([LAUNCHER, '--address', node.socketPath, ...args]),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** What a child has written, and how to wait for more of it. */
export function watch(child: ReturnType<TestNode['spawnCli']>) {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk
  })
  const closed = once(child, 'close').then(([code, signal]) => ({ exitCode: code, signal, stdout, stderr }))
  return {
    closed,
    stdout: () => stdout,
    async sees(isThere: (stdout: string) => boolean): Promise<void> {
      while (!isThere(stdout)) {
        if (child.exitCode !== null) throw new Error(`it ended: ${stdout}${stderr}`)
        if (child.stdout) await Promise.race([once(child.stdout, 'data'), closed])
      }
    },
  }
}
