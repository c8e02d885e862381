/**
 * A daemon's part in a container's log alone, in a process to be killed: what comes out of the FIFOs goes to the log, until both
 * streams have ended.
 *
 *   log-process.ts {"dir", "logPath", "limits"}
 */
import { pino } from 'pino'
import { LogFile } from '../../src/shim/log-file.ts'
import { LoggedOutput } from '../../src/shim/output-hub.ts'
import { ProcessStdio } from '../../src/shim/stdio.ts'

const { dir, logPath, limits } = JSON.parse(process.argv[2] ?? '')
const log = await LogFile.open(logPath, pino({ enabled: false }), limits)
const stdio = ProcessStdio.attach(dir, { stdin: 'none', output: 'pipes' })
const { ended } = new LoggedOutput(stdio.spool(), log)
process.stdout.write('reading\n')
await ended
