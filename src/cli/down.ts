import { PurserError } from '../model/errors.ts'
import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'
import { readYamlFile } from './line/yaml-file.ts'
import { wholeNumber } from './options/numbers.ts'

export const verb = defineVerb({
  args: [{ name: 'project', count: '0-' }],
  options: {
    file: { short: 'f', value: 'file', completes: 'file', help: 'that names the project' },
    time: { short: 't', value: 'seconds', parse: wholeNumber(0, 86_400), help: 'of each stop, until SIGKILL follows' },
  },
  async run({ client, flags: { file, time }, args, debug }) {
    const projects = file === undefined ? args : [...args, await nameIn(file)]
    if (projects.length === 0) {
      throw new PurserError('invalid_argument', 'no project is named', { remedy: 'give its name, or -f FILE' })
    }
    const payload = time === undefined ? {} : { graceMs: time * 1000 }
    return await each(projects, debug, async (subject) => {
      await client.execute('project.down', { subject, payload })
      return subject
    })
  },
})

async function nameIn(file: string): Promise<string> {
  const { name } = await readYamlFile(file, 'docs/life.md')
  if (typeof name === 'string') return name
  throw new PurserError('invalid_argument', `${file}: the project has no name`, { remedy: 'give the name itself' })
}
