// Stands for a daemon in tests that kill it: runs one task with a log, says its pids, and waits.
import { pino } from 'pino'
import { LogFile } from '../../src/shim/log-file.ts'
import { LoggedOutput } from '../../src/shim/output-hub.ts'
import { Shims } from '../../src/shim/shims.ts'
import { ProcessStdio } from '../../src/shim/stdio.ts'

const [text = ''] = process.argv.slice(2)
const { stateDir, eventsAddress, searchPath, task, rootfs, ioDir, logPath } = JSON.parse(text)
const signal = AbortSignal.timeout(60_000)
const logger = pino({ enabled: false })
const shims = new Shims({ stateDir, eventsAddress, runtimes: {}, searchPath, logger })
const stdio = await ProcessStdio.create(ioDir, { stdin: 'open', output: 'pipes' })
const hub = new LoggedOutput(stdio.spool(), await LogFile.open(logPath, logger))
const shim = await shims.start({ ...task, stdio, signal })
const { pid } = await shim.create({ rootfs, io: stdio.io }, signal)
await shim.start({}, signal)
for await (const { data } of hub.subscribe({ replay: 'all', signal })) {
  if (data.includes('before')) break
}
const { shimPid } = await shim.connect(signal)
process.stdout.write(`${JSON.stringify({ pid, shimPid })}\n`)
await hub.ended
