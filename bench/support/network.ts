import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { run } from './run.ts'

const NAMESPACE = 'purser-bench'
const OUTSIDE = '10.213.7.1'
const INSIDE = '10.213.7.2'
const PORT = 5000

/** A registry in a network namespace of its own, behind a link that carries so much and no more. */
export async function startRegistryBehindLink(rate: string) {
  const dir = await mkdtemp(join(tmpdir(), 'br-'))
  const ip = (...args: string[]) => run('ip', args)
  await ip('netns', 'add', NAMESPACE)
  await ip('link', 'add', 'purserb0', 'type', 'veth', 'peer', 'name', 'purserb1', 'netns', NAMESPACE)
  await ip('addr', 'add', `${OUTSIDE}/24`, 'dev', 'purserb0')
  await ip('link', 'set', 'purserb0', 'up')
  await ip('-n', NAMESPACE, 'addr', 'add', `${INSIDE}/24`, 'dev', 'purserb1')
  await ip('-n', NAMESPACE, 'link', 'set', 'purserb1', 'up')
  await writeFile(
    join(dir, 'config.yml'),
    `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${join(dir, 'data')}}}
http: {addr: '${INSIDE}:${PORT}'}
`,
  )
  const child = spawn('ip', ['netns', 'exec', NAMESPACE, 'docker-registry', 'serve', join(dir, 'config.yml')], {
    stdio: 'ignore',
  })
  const exited = once(child, 'exit')
  const address = `${INSIDE}:${PORT}`
  while (
    !(await fetch(`http://${address}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    ))
  )
    await delay(50)
  return {
    address,
    /** From now on: filling the registry needs no patience. */
    shape: () =>
      run('ip', [
        'netns',
        'exec',
        NAMESPACE,
        'tc',
        ...`qdisc add dev purserb1 root tbf rate ${rate} burst 64kb latency 100ms`.split(' '),
      ]),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
      await ip('netns', 'del', NAMESPACE)
      await rm(dir, { recursive: true, force: true })
    },
  }
}
