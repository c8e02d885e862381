import { ERROR_CODES } from '../model/errors.ts'
import { failed } from './line/failed.ts'
import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { humanSize, print } from './terminal/output.ts'

interface Finding {
  digest: string
  sizeBytes: number
  status: 'ok' | 'missing' | 'corrupted' | 'discarded'
  found?: string
}

interface Row extends Finding {
  image: string
  healed: boolean
}

export const verb = defineVerb({
  args: [{ name: 'image', count: '0-', completes: 'image' }],
  options: {
    heal: { help: 'bring what is not as it should be again, from where it came from' },
    quiet: { short: 'q', help: 'only what is not as it should be' },
  },
  async run({ client, flags: { heal, quiet }, args, format, debug }) {
    const names = args.length > 0 ? args : (await Array.fromAsync(client.list('images'))).map(({ name }) => name)
    const rows: Row[] = []
    let status = 0
    for (const given of names) {
      try {
        const subject = await imageNamed(client, given)
        const payload = { heal: heal ? 'refetch' : 'no' } as const
        const { result } = await client.execute('image.check', { subject, payload })
        const { findings, healed, isWhole } = result as { findings: Finding[]; healed: string[]; isWhole: boolean }
        rows.push(...findings.map((each) => ({ image: subject, ...each, healed: healed.includes(each.digest) })))
        if (!isWhole && status === 0) status = ERROR_CODES.data_loss.exit
      } catch (thrown) {
        const code = failed(thrown, { debug })
        if (status === 0) status = code
      }
    }
    print(quiet ? rows.filter((row) => row.status !== 'ok') : rows, format, {
      IMAGE: ({ image }) => image,
      DIGEST: ({ digest }) => digest.slice(7, 19),
      SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
      STATUS: (row) => (row.healed ? `${row.status}, healed` : row.status),
      FOUND: ({ found = '' }) => found,
    })
    return status
  },
})
