import { PurserError } from '../model/errors.ts'
import { parseDuration } from '../oci/size.ts'
import { defineVerb } from './line/verb.ts'
import { readRunFile } from './options/run-file.ts'
import { followCommand } from './terminal/follow-command.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    file: { short: 'f', value: 'file', completes: 'file', help: 'YAML or JSON with containers; - is standard input' },
    name: { value: 'name', help: "of the project, instead of the file's" },
    'on-failure': {
      value: 'what',
      choices: ['keep', 'remove'],
      help: 'the containers, when one does not come up: keep (the default) or remove',
    },
    timeout: { value: 'duration', parse: parseDuration, help: 'give up after: 5m' },
    quiet: { short: 'q', help: 'no bars while images are pulled' },
  },
  async run({ client, flags: { file, name, timeout, quiet, ...flags }, format }) {
    if (file === undefined)
      throw new PurserError('invalid_argument', 'no run file is named', { remedy: 'give -f FILE' })
    const { containers, name: ofFile } = await readRunFile(client, file)
    const subject = name ?? ofFile
    if (subject === undefined) {
      throw new PurserError('invalid_argument', `${file}: the project has no name`, {
        remedy: 'write name: NAME in the file, or give --name',
      })
    }
    const accepted = await client.submit('project.up', {
      subject,
      payload: { containers, ...(flags['on-failure'] === 'remove' ? { onFailure: 'remove' } : {}) },
      deadline: timeout === undefined ? undefined : new Date(Date.now() + timeout).toISOString(),
    })
    const ended = await followCommand(client, accepted, process.stdout.isTTY && !quiet ? 'shown' : 'hidden')
    if (typeof ended === 'number') return ended
    if (format !== 'table') printJson(ended.result, format)
    else
      process.stdout.write(
        Object.keys(containers)
          .map((part) => `${subject}-${part}\n`)
          .join(''),
      )
    return 0
  },
})
