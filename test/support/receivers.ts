import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** Programs that take logs, where this machine has them. */
export const JOURNALD = ['/lib/systemd/systemd-journald', '/usr/lib/systemd/systemd-journald'].find(isThere)
export const RSYSLOGD = `${process.env.PATH}:/usr/sbin`
  .split(delimiter)
  .map((dir) => join(dir, 'rsyslogd'))
  .find(isThere)

function isThere(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const STARTED_MS = 10_000

/** @param started whether it takes messages */
async function start(command: readonly string[], started: () => boolean): Promise<AsyncDisposable> {
  const [program = '', ...args] = command
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(child, 'exit')
  const receiver = {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
  for (const late = Date.now() + STARTED_MS; !started(); await delay(10)) {
    if (Date.now() < late && child.exitCode === null) continue
    await receiver[Symbol.asyncDispose]()
    throw new Error(`${program} does not start`)
  }
  return receiver
}

/** rsyslogd on a datagram socket and on TCP, with its own limits; `lines()` are `HOST TAG CONTAINER STREAM SEVERITY TEXT`. */
export async function startRsyslog(dir: string) {
  const [path, out, port] = [join(dir, 'devlog'), join(dir, 'out'), await freePort()]
  const config = [
    'module(load="imuxsock" SysSock.Use="off")',
    `input(type="imuxsock" Socket="${path}" ParseHostname="on" UseSpecialParser="off" RateLimit.Interval="0")`,
    'module(load="imtcp")',
    `input(type="imtcp" port="${port}" address="127.0.0.1")`,
    `global(workDirectory="${dir}")`,
    'template(name="all" type="string" string="%HOSTNAME% %APP-NAME% %PROCID% %MSGID% %syslogseverity-text% %msg%\\n")',
    `*.* action(type="omfile" file="${out}" template="all")`,
  ]
  writeFileSync(join(dir, 'rsyslog.conf'), `${config.join('\n')}\n`)
  const command = [RSYSLOGD ?? '', '-n', '-f', join(dir, 'rsyslog.conf'), '-i', join(dir, 'pid')]
  const receiver = await start(command, () => existsSync(path) && existsSync(join(dir, 'pid')))
  const lines = () => (existsSync(out) ? readFileSync(out, 'utf8').split('\n').slice(0, -1) : [])
  return { ...receiver, path, port, lines }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** journald in a mount namespace of its own, where `/run` is empty but for its socket and its journal. */
export async function startJournald(dir: string) {
  const [sockets, journal] = [join(dir, 'sockets'), join(dir, 'journal')]
  for (const each of [sockets, journal]) mkdirSync(each)
  writeFileSync(join(dir, 'journald.conf'), '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitIntervalSec=0\n')
  const script = [
    'set -e; umask 022',
    'exec 3<"$1/sockets" 4<"$1/journal" 5<"$1/journald.conf"',
    'mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal /run/log/journal',
    'mount --bind /proc/self/fd/3 /run/systemd/journal; mount --bind /proc/self/fd/4 /run/log/journal',
    'mount --bind /proc/self/fd/5 /etc/systemd/journald.conf',
    'echo 0123456789abcdef0123456789abcdef >/run/id; mount --bind /run/id /etc/machine-id',
    'exec "$2" 3<&- 4<&- 5<&-',
  ]
  const command = ['unshare', '-m', 'sh', '-c', script.join('\n'), 'sh', dir, JOURNALD ?? '']
  const path = join(sockets, 'socket')
  const receiver = await start(command, () => existsSync(path))
  const entries = (): Record<string, unknown>[] =>
    execFileSync('journalctl', ['-D', journal, '-o', 'json', '--all', '--no-pager', 'CONTAINER_NAME=c1'])
      .toString()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
  return { ...receiver, path, entries }
}
