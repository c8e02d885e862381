import { rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { LogFile, UNLIMITED_LOG } from '../log-file.ts'
import { LoggedOutput } from '../output-hub.ts'
import { passingAt } from '../output-rate.ts'
import { ProcessStdio } from '../stdio.ts'
import { type FromKeeper, jsonLines, type KeptOutput, type ToKeeper } from './protocol.ts'

/**
 * The process that goes on with the logs while no daemon is there. While one is connected it only remembers what that
 * says; when the connection ends it reads, until the next one connects. It ends by itself when nothing is left to be kept.
 */
const [socketPath = ''] = process.argv.slice(2)

const kept = new Map<string, KeptOutput>()
const reading = new Map<string, LoggedOutput>()
let daemon: Socket | undefined
/** One thing after the other: reading begins and ends as connections do. */
let turn = Promise.resolve()

/** One whose daemon was killed before it could say anything ends too. */
const FIRST_MS = 30_000

const nothing = { warn: () => {} } // Nobody reads what it would say.

async function begin(output: KeptOutput): Promise<void> {
  const { key, stdioDir, logPath, maxBytes, filesMax, bytesPerSecond } = output
  try {
    const stdio = ProcessStdio.attach(stdioDir, { stdin: 'none', output: output.output })
    const limits = maxBytes === undefined ? UNLIMITED_LOG : { maxBytes, filesMax }
    const log = await LogFile.open(logPath, nothing, limits)
    const hub = new LoggedOutput(stdio.spool(), log, passingAt(bytesPerSecond))
    reading.set(key, hub)
    void hub.ended.then(() => {
      if (reading.get(key) !== hub) return
      reading.delete(key)
      kept.delete(key)
      endIfIdle()
    })
  } catch {
    kept.delete(key) // It has gone, or cannot be read: the next daemon sees what is the matter.
  }
}

async function goOn(): Promise<void> {
  if (daemon) return
  await Promise.all([...kept.values()].map(begin))
  endIfIdle()
}

async function handOver(to: Socket): Promise<void> {
  const hubs = [...reading.values()]
  reading.clear()
  kept.clear() // It says anew what there is.
  await Promise.all(hubs.map((hub) => hub.detach()))
  to.write(`${JSON.stringify({ yours: true } satisfies FromKeeper)}\n`)
}

function endIfIdle(): void {
  if (daemon || reading.size > 0) return
  rmSync(socketPath, { force: true })
  process.exit(0)
}

const server = createServer((socket) => {
  daemon?.destroy() // There is one daemon: the other one is on its way out.
  daemon = socket
  turn = turn.then(() => handOver(socket))
  socket.setEncoding('utf8')
  const take = jsonLines<ToKeeper>((message) => {
    // After the hand-over, which forgets what was before.
    turn = turn.then(() => {
      if ('add' in message) kept.set(message.add.key, message.add)
      else kept.delete(message.remove)
    })
  })
  socket.on('data', take)
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    if (daemon !== socket) return
    daemon = undefined
    turn = turn.then(goOn)
  })
})
process.umask(0o117) // The socket is root's alone; a log is as a daemon makes it.
rmSync(socketPath, { force: true })
server.listen(socketPath)
setTimeout(endIfIdle, FIRST_MS).unref()
