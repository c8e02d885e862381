import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { checkBooks, events } from '../support/faults.ts'
import { startProxy } from '../support/proxy.ts'
import { type PushedImage, startRegistry, type TestRegistry, tarLayer } from '../support/registry.ts'
import {
  BUNDLE,
  bundleBy,
  ISSUER,
  keyPair,
  NOTATION,
  notaryAuthority,
  ownSigstore,
  pemOf,
  signedWith,
  signerOf,
  simplePayload,
} from '../support/signing.ts'

const JWS = 'application/jose+json'
const ours = keyPair()
const others = keyPair()
const second = keyPair()

let registry: TestRegistry
let node: TestNode
let sigstore: Awaited<ReturnType<typeof ownSigstore>>
let proxy: Awaited<ReturnType<typeof startProxy>>
let notary: Awaited<ReturnType<typeof notaryAuthority>>
let count = 0

before(async () => {
  registry = await startRegistry()
  proxy = await startProxy(registry.address)
  node = await startNode()
  sigstore = await ownSigstore()
  notary = await notaryAuthority()
  await writeFile(join(node.dir, 'ours.pem'), pemOf(ours.publicKey))
  await writeFile(join(node.dir, 'second.pem'), pemOf(second.publicKey))
  await writeFile(join(node.dir, 'root.json'), sigstore.root)
  await configure()
})
after(async () => {
  await node[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await notary[Symbol.asyncDispose]()
})

const keys = (...names: string[]) => `keys = [${names.map((name) => JSON.stringify(join(node.dir, name))).join(', ')}]`

async function configure(more = ''): Promise<void> {
  const at = registry.address
  await node.configure(`
${more.includes('deny') ? more : '[trust]'}
[[trust.policy]]
match = "${at}/keyed/*"
require = "cosign"
${more.includes('second') ? keys('ours.pem', 'second.pem') : keys('ours.pem')}
[[trust.policy]]
match = "${proxy.address}/**"
require = "cosign"
${keys('ours.pem')}
[[trust.policy]]
match = "${at}/both/*"
require = "cosign"
mode = "all"
${keys('ours.pem', 'second.pem')}
[[trust.policy]]
match = "${at}/people/*"
require = "cosign"
trustedRoot = "${join(node.dir, 'root.json')}"
identities = [{ issuer = "${ISSUER}", subject = "/https://ci\\\\.example\\\\.test/.*/" }]
[[trust.policy]]
match = "${at}/notary/*"
require = "notation"
trustStore = ["${notary.certFile}"]
identities = ["CN=build, O=Test"]
[[trust.policy]]
match = "${at}/refused/**"
require = "refusal"
`)
  await node.restart()
}

/** A new image in a repository of its own. */
async function imageIn(
  folder: string,
  tag = 'v1',
  content = String(count),
): Promise<PushedImage & { repository: string }> {
  const repository = `${folder}/app${++count}`
  return { repository, ...(await push(repository, tag, content)) }
}
const push = async (repository: string, tag: string, content: string) =>
  await registry.pushImage({ repository, tag, layers: [await tarLayer([{ name: 'file', content }])] })

const pull = (reference: string) => node.cli('pull', '-q', reference)

async function pulls(reference: string): Promise<void> {
  const { exitCode, stderr } = await pull(reference)
  assert.equal(exitCode, 0, stderr)
}

async function refuses(reference: string, reason: RegExp): Promise<void> {
  const { exitCode, stderr } = await pull(reference)
  assert.equal(exitCode, 77, stderr)
  assert.match(stderr, reason)
  assert.equal((await node.cli('images', '--format', 'json')).stdout.includes(reference), false)
  const [, , digest = ''] = /(\()(sha256:[0-9a-f]{64})\)/.exec(stderr) ?? []
  const about = await events(node, `image/${reference}`)
  assert.ok(about.some(({ type, data }) => type === 'image.refused' && (digest === '' || data.digest === digest)))
  assert.equal(
    about.some(({ type }) => type === 'image.pulled' || type === 'image.verified'),
    false,
  )
}

describe('trust in images', { timeout: 120_000 }, () => {
  test('by a key: signed is pulled, with who has signed it on record; unsigned is not', async () => {
    const image = await imageIn('keyed')
    await refuses(image.reference, /requires cosign: it has no signature; have .* signed/)
    const { digest } = image.descriptor
    await signerOf(registry, image.repository).simple(image.descriptor, [
      signedWith(ours.privateKey, simplePayload(digest)),
    ])
    await pulls(image.reference)
    const verified = (await events(node, `image/${image.reference}`)).find(({ type }) => type === 'image.verified')
    assert.deepEqual(verified?.data.signers, [join(node.dir, 'ours.pem')])
    assert.equal(verified?.data.digest, digest)
    const told = await node.cli('image', 'verify', image.reference)
    assert.match(told.stdout, /cosign, signed by .*ours\.pem/)
  })

  test('by a key: of another key, of another image, or altered, it is no signature', async () => {
    const image = await imageIn('keyed')
    const { digest } = image.descriptor
    const signer = signerOf(registry, image.repository)
    await signer.simple(image.descriptor, [signedWith(others.privateKey, simplePayload(digest))])
    await refuses(image.reference, /it is by none of the keys/)
    const another = `sha256:${'0'.repeat(64)}`
    await signer.simple(image.descriptor, [signedWith(ours.privateKey, simplePayload(another))])
    await refuses(image.reference, /it signs another image, sha256:000/)
    const { annotations } = signedWith(ours.privateKey, simplePayload(another))
    await signer.simple(image.descriptor, [{ blob: simplePayload(digest), annotations }])
    await refuses(image.reference, /it is by none of the keys/)
    await signer.simple(image.descriptor, [{ blob: Buffer.from('{'), annotations: {} }])
    await refuses(image.reference, /lacks the annotation/)
    // One that is no good does not stand in the way of one that is.
    await signer.simple(image.descriptor, [
      signedWith(others.privateKey, simplePayload(digest)),
      signedWith(ours.privateKey, simplePayload(digest)),
    ])
    await pulls(image.reference)
  })

  test('by a key: a sigstore bundle that refers to the image', async () => {
    const image = await imageIn('keyed')
    const signer = signerOf(registry, image.repository)
    const bundle = (blob: Buffer) => ({ layerType: BUNDLE, blob })
    await signer.referring(image.descriptor, BUNDLE, [bundle(bundleBy(others.privateKey, image.descriptor))])
    await refuses(image.reference, /signature verification failed/)
    await signer.referring(image.descriptor, BUNDLE, [
      bundle(bundleBy(ours.privateKey, { digest: `sha256:${'1'.repeat(64)}` })),
    ])
    await refuses(image.reference, /it signs another image/)
    await signer.referring(image.descriptor, BUNDLE, [bundle(Buffer.from('no bundle'))])
    await refuses(image.reference, /not JSON/)
    await signer.referring(image.descriptor, BUNDLE, [bundle(bundleBy(ours.privateKey, image.descriptor))])
    await pulls(image.reference)
  })

  test('signatures are fetched with the credentials that came with the request, and no others', async () => {
    const authorization = `Basic ${Buffer.from('ci:canary-signed-50c1').toString('base64')}`
    const headers = {
      prefer: 'wait=60',
      'x-registry-auth': Buffer.from(JSON.stringify({ username: 'ci', password: 'canary-signed-50c1' })).toString(
        'base64url',
      ),
    }
    proxy.lie((asked, _upstream, response) => {
      if (asked.authorization === authorization) return false
      response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
      return true
    })
    const kinds = ['simple', 'bundle'] as const
    for (const kind of kinds) {
      const image = await imageIn('private')
      const signer = signerOf(registry, image.repository)
      if (kind === 'bundle')
        await signer.referring(image.descriptor, BUNDLE, [
          { layerType: BUNDLE, blob: bundleBy(ours.privateKey, image.descriptor) },
        ])
      else await signer.simple(image.descriptor, [signedWith(ours.privateKey, simplePayload(image.descriptor.digest))])
      const subject = `${proxy.address}/${image.repository}:v1`
      assert.equal((await pull(subject)).exitCode, 77, 'without them')
      const pulled = await node.http('POST', '/v1/commands', { type: 'image.pull', subject }, headers)
      assert.equal(pulled.status, 200, pulled.text)
      const verified = await node.http('POST', '/v1/commands', { type: 'image.verify', subject }, headers)
      assert.equal(verified.status, 200, verified.text)
    }
    proxy.lie()
  })

  test('a registry that does not let signatures be listed is no registry without signatures', async () => {
    const image = await imageIn('private')
    proxy.lie((asked, _upstream, response) => {
      if (!asked.path.includes('/referrers/')) return false
      response.writeHead(403).end()
      return true
    })
    const { exitCode, stderr } = await pull(`${proxy.address}/${image.repository}:v1`)
    assert.equal(exitCode, 77)
    assert.match(stderr, /denies access/)
    proxy.lie()
  })

  test('all of several keys', async () => {
    const image = await imageIn('both')
    const payload = simplePayload(image.descriptor.digest)
    const signer = signerOf(registry, image.repository)
    await signer.simple(image.descriptor, [signedWith(ours.privateKey, payload)])
    await refuses(image.reference, /missing: .*second\.pem/)
    await signer.simple(image.descriptor, [
      signedWith(ours.privateKey, payload),
      signedWith(second.privateKey, payload),
    ])
    await pulls(image.reference)
  })

  test('by an identity: certified, in the log, and the one that is wanted', async () => {
    const image = await imageIn('people')
    const payload = simplePayload(image.descriptor.digest)
    const signer = signerOf(registry, image.repository)
    await signer.simple(image.descriptor, [
      await sigstore.signedBy('https://evil.test/?https://ci.example.test/job', payload),
    ])
    await refuses(image.reference, /certificate identity error/)
    const stranger = await ownSigstore()
    await signer.simple(image.descriptor, [await stranger.signedBy('https://ci.example.test/job', payload)])
    await refuses(image.reference, /certificate/i)
    await signer.simple(image.descriptor, [
      await sigstore.signedBy('https://ci.example.test/job', payload, Buffer.from('another')),
    ])
    await refuses(image.reference, /log|digest|mismatch/i)
    const good = await sigstore.signedBy('https://ci.example.test/job', payload)
    const { 'dev.sigstore.cosign/bundle': _, ...unlogged } = good.annotations ?? {}
    await signer.simple(image.descriptor, [{ ...good, annotations: unlogged }])
    await refuses(image.reference, /expected 1 timestamps|inclusion/)
    await signer.simple(image.descriptor, [good])
    await pulls(image.reference)
  })

  test("by the Notary Project's certificates: an authority, a subject, and a time", async () => {
    const image = await imageIn('notary')
    const signer = signerOf(registry, image.repository)
    const attach = (blob: Buffer) => signer.referring(image.descriptor, NOTATION, [{ layerType: JWS, blob }])
    await refuses(image.reference, /requires notation: it has no signature/)
    const build = await notary.signer('/O=Test/CN=build')
    await attach((await notary.signer('/O=Test/CN=somebody'))(image.descriptor))
    await refuses(image.reference, /it is by none of the keys and identities/)
    await attach((await notary.signer('/O=Test/CN=build', { days: -1 }))(image.descriptor))
    await refuses(image.reference, /the certificate of O=Test, CN=build holds from/)
    await attach(build(image.descriptor, { expiry: '2025-01-01T00:00:00Z' }))
    await refuses(image.reference, /it has expired on 2025-01-01/)
    await attach(build({ ...image.descriptor, digest: `sha256:${'2'.repeat(64)}` }))
    await refuses(image.reference, /it signs another image/)
    const tampered = JSON.parse(build(image.descriptor).toString())
    await attach(Buffer.from(JSON.stringify({ ...tampered, payload: Buffer.from('{}').toString('base64url') })))
    await refuses(image.reference, /signature does not fit/)
    await using foreign = await notaryAuthority()
    await attach((await foreign.signer('/O=Test/CN=build'))(image.descriptor))
    await refuses(image.reference, /by no authority of the trust store/)
    await attach(build(image.descriptor, { expiry: '2099-01-01T00:00:00Z' }))
    await pulls(image.reference)
  })

  test('a tag that is put back to an image of old is refused, however well that is signed', async () => {
    const first = await imageIn('keyed', 'latest', 'old')
    const sign = async ({ descriptor }: PushedImage) =>
      signerOf(registry, first.repository).simple(descriptor, [
        signedWith(ours.privateKey, simplePayload(descriptor.digest)),
      ])
    await sign(first)
    await pulls(first.reference)
    const newer = await push(first.repository, 'latest', 'new')
    await sign(newer)
    await pulls(first.reference)
    await push(first.repository, 'latest', 'old')
    const { exitCode, stderr } = await pull(first.reference)
    assert.equal(exitCode, 77, stderr)
    assert.match(stderr, /stands for sha256:.* again, which sha256:.* had replaced .*rollback = "allow"/)
    await pulls(`${registry.address}/${first.repository}@${first.descriptor.digest}`)
  })

  test('what nobody asks of is pulled; what is refused never is', async () => {
    await pulls((await imageIn('free')).reference)
    await refuses((await imageIn('refused')).reference, /images of this name are refused/)
  })

  test('a present image is verified anew when the policy has changed, and is not run when it does not meet it', async () => {
    const name = await pushTinyImage({ registry: registry.address, repository: 'keyed/tiny', tag: 'v1' })
    const head = await fetch(`http://${registry.address}/v2/keyed/tiny/manifests/v1`, {
      method: 'HEAD',
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    })
    const digest = head.headers.get('docker-content-digest') ?? ''
    const signer = signerOf(registry, 'keyed/tiny')
    await signer.simple({ digest }, [signedWith(ours.privateKey, simplePayload(digest))])
    assert.equal((await node.cli('run', '--rm', name, 'true')).exitCode, 0)
    const verdicts = async () =>
      (await events(node, `image/${name}`)).filter(({ type }) => type === 'image.verified').length
    assert.equal(await verdicts(), 1)
    assert.equal((await node.cli('run', '--rm', name, 'true')).exitCode, 0)
    assert.equal(await verdicts(), 1, 'under the same policy once is enough')

    await writeFile(join(node.dir, 'ours.pem'), pemOf(others.publicKey))
    await node.restart()
    const refused = await node.cli('run', '--rm', name, 'true')
    assert.equal(refused.exitCode, 125)
    assert.match(refused.stderr, /does not meet the policy/)
    await writeFile(join(node.dir, 'ours.pem'), pemOf(ours.publicKey))

    await configure(`[trust]\ndeny = ["${digest}"]`)
    const denied = await node.cli('run', '--rm', name, 'true')
    assert.match(denied.stderr, /is denied on this node/)
    await configure()
    assert.equal((await node.cli('run', '--rm', name, 'true')).exitCode, 0)
    await checkBooks(node)
  })

  test('a policy whose files are missing or hold something else keeps the daemon from starting', async () => {
    for (const [lines, message] of [
      [`require = "cosign"\nkeys = ["/nowhere/key.pem"]`, /names \/nowhere\/key\.pem, which cannot be read/],
      [`require = "cosign"\nkeys = ["${join(node.dir, 'root.json')}"]`, /is not a public key \(PEM\)/],
      [`require = "cosign"`, /name keys or identities/],
      [
        `require = "cosign"\nidentities = [{ issuer = "https://a.test", subject = "b" }]`,
        /identities need a trustedRoot/,
      ],
      [`require = "trust"`, /policy/],
    ] as const) {
      const config = join(node.dir, 'wrong.toml')
      await writeFile(config, `[[trust.policy]]\nmatch = "**"\n${lines}\n`)
      const { exitCode, stderr } = await node.cli(
        'daemon',
        '--config',
        config,
        '--root',
        join(node.dir, 'w'),
        '--state',
        join(node.dir, 'ws'),
      )
      assert.notEqual(exitCode, 0)
      assert.match(stderr, message)
    }
  })
})
