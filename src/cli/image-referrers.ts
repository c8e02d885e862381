import { defineVerb } from './line/verb.ts'
import { humanSize, print } from './terminal/output.ts'

interface Referrer {
  digest: string
  mediaType: string
  artifactType?: string
  sizeBytes: number
}

export const verb = defineVerb({
  args: [{ name: 'image', count: '1', completes: 'image' }],
  options: { 'artifact-type': { value: 'type', help: 'only those of this type' } },
  async run({ client, flags, args: [image = ''], format }) {
    const query = { image, artifactType: flags['artifact-type'] }
    const { referrers, isComplete } = await client.get<{ referrers: Referrer[]; isComplete: boolean }>(
      '/v1/referrers',
      query,
    )
    print(referrers, format, {
      DIGEST: ({ digest }) => digest,
      'ARTIFACT TYPE': ({ artifactType, mediaType }) => artifactType ?? mediaType,
      SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
    })
    if (!isComplete) process.stderr.write('purser: there are more: name an artifact type\n')
    return 0
  },
})
