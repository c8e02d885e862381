import { execFile } from 'node:child_process'
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { initializeCA, initializeCTLog, initializeTLog } from '@sigstore/mock'
import { z } from 'zod'
import type { TestDescriptor, TestRegistry } from './registry.ts'

const run = promisify(execFile)
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json'
export const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
export const NOTATION = 'application/vnd.cncf.notary.signature'
export const ISSUER = 'https://accounts.example.test'
const BEGUN = { start: '2020-01-01T00:00:00Z' }

const logEntry = z.object({
  body: z.string(),
  integratedTime: z.number(),
  logIndex: z.number(),
  logID: z.string(),
  verification: z.object({ signedEntryTimestamp: z.string() }),
})

interface Attached {
  layerType: string
  blob: Buffer
  annotations?: Record<string, string>
}

/** What signers write into a registry, by their specifications; what is in it may be wrong on purpose. */
export function signerOf(registry: TestRegistry, repository: string) {
  const pushed = async ({ layerType, blob, annotations = {} }: Attached) => ({
    mediaType: layerType,
    digest: await registry.pushBlob(repository, blob),
    size: blob.length,
    annotations,
  })
  const empty = async () => ({
    mediaType: 'application/vnd.oci.empty.v1+json',
    digest: await registry.pushBlob(repository, Buffer.from('{}')),
    size: 2,
  })
  return {
    /** At the tag where cosign looks first. */
    async simple(image: { digest: string }, signatures: readonly Omit<Attached, 'layerType'>[]): Promise<void> {
      const layers = await Promise.all(signatures.map((each) => pushed({ ...each, layerType: SIMPLE_SIGNING })))
      const document = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: await empty(), layers })
      await registry.pushManifest(repository, `${image.digest.replace(':', '-')}.sig`, document, MANIFEST)
    },
    /** As artifacts that refer to the image; this registry has no list of them, so a tag has it. */
    async referring(image: TestDescriptor, artifactType: string, blobs: readonly Attached[]): Promise<void> {
      const manifests: object[] = []
      for (const each of blobs) {
        const { mediaType, digest, size } = image
        const document = JSON.stringify({
          schemaVersion: 2,
          mediaType: MANIFEST,
          artifactType,
          config: await empty(),
          layers: [await pushed(each)],
          subject: { mediaType, digest, size },
        })
        const at = `sha256:${createHash('sha256').update(document).digest('hex')}`
        manifests.push({ ...(await registry.pushManifest(repository, at, document, MANIFEST)), artifactType })
      }
      const index = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests })
      await registry.pushManifest(repository, image.digest.replace(':', '-'), index, INDEX)
    },
  }
}

export const keyPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString()

export const simplePayload = (digest: string): Buffer =>
  Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': '' },
        image: { 'docker-manifest-digest': digest },
        type: 'cosign container image signature',
      },
      optional: null,
    }),
  )

const SIGNATURE = 'dev.cosignproject.cosign/signature'

export function signedWith(privateKey: KeyObject, payload: Buffer): Omit<Attached, 'layerType'> {
  return { blob: payload, annotations: { [SIGNATURE]: sign('sha256', payload, privateKey).toString('base64') } }
}

/** A sigstore bundle by a key, around an in-toto statement. */
export function bundleBy(privateKey: KeyObject, image: { digest: string }): Buffer {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    subject: [{ name: '', digest: { sha256: image.digest.slice('sha256:'.length) } }],
    predicate: {},
  }
  const payload = Buffer.from(JSON.stringify(statement))
  const payloadType = 'application/vnd.in-toto+json'
  // DSSE, protocol.md, "PAE"
  const signed = Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} ${payload}`)
  return Buffer.from(
    JSON.stringify({
      mediaType: BUNDLE,
      verificationMaterial: { publicKey: { hint: 'the key' }, tlogEntries: [] },
      dsseEnvelope: {
        payload: payload.toString('base64'),
        payloadType,
        signatures: [{ sig: sign('sha256', signed, privateKey).toString('base64') }],
      },
    }),
  )
}

/** A sigstore of the test's own: an authority that certifies identities, and its logs. */
export async function ownSigstore() {
  const [ca, log, ctLog] = [generateKeyPairSync('ec', { namedCurve: 'P-384' }), keyPair(), keyPair()]
  const ctlog = await initializeCTLog(ctLog)
  const authority = await initializeCA(ca, ctlog)
  const tlog = await initializeTLog('https://rekor.test', log)
  const instance = ({ publicKey }: { publicKey: KeyObject }) => {
    const raw = publicKey.export({ type: 'spki', format: 'der' })
    return {
      baseUrl: '',
      hashAlgorithm: 'SHA2_256',
      publicKey: { rawBytes: raw.toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor: BEGUN },
      logId: { keyId: createHash('sha256').update(raw).digest('base64') },
    }
  }
  return {
    /** `trusted_root.json` */
    root: JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [instance(log)],
      certificateAuthorities: [
        {
          subject: { organization: 'test', commonName: 'test' },
          uri: '',
          certChain: { certificates: [{ rawBytes: base64(authority.rootCertificate) }] },
          validFor: BEGUN,
        },
      ],
      ctlogs: [instance(ctLog)],
      timestampAuthorities: [],
    }),
    /** A signature with a certificate that holds for minutes, and an entry in the log that says when it was used. */
    async signedBy(subject: string, payload: Buffer, logged = payload): Promise<Omit<Attached, 'layerType'>> {
      const { publicKey, privateKey } = keyPair()
      const der = await authority.issueCertificate({
        publicKey: publicKey.export({ type: 'spki', format: 'der' }),
        subjectAltName: subject,
        extensions: [{ oid: '1.3.6.1.4.1.57264.1.8', value: ISSUER }],
      })
      const pem = `-----BEGIN CERTIFICATE-----\n${base64(der).replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
      const signature = sign('sha256', payload, privateKey).toString('base64')
      const entries = await tlog.log({
        apiVersion: '0.0.1',
        kind: 'hashedrekord',
        spec: {
          data: { hash: { algorithm: 'sha256', value: createHash('sha256').update(logged).digest('hex') } },
          signature: { content: signature, publicKey: { content: Buffer.from(pem).toString('base64') } },
        },
      })
      const { body, integratedTime, logIndex, logID, verification } = logEntry.parse(Object.values(entries)[0])
      return {
        blob: payload,
        annotations: {
          [SIGNATURE]: signature,
          'dev.sigstore.cosign/certificate': pem,
          'dev.sigstore.cosign/bundle': JSON.stringify({
            SignedEntryTimestamp: verification.signedEntryTimestamp,
            Payload: { body, integratedTime, logIndex, logID },
          }),
        },
      }
    },
  }
}

const base64 = (bytes: ArrayBufferView): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')

/** An authority of the Notary Project's kind, with leaf certificates for signing code. */
export async function notaryAuthority() {
  const dir = await mkdtemp(join(tmpdir(), 'purser-notary-'))
  const openssl = (...args: string[]) => run('openssl', args, { cwd: dir })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await writeFile(
    join(dir, 'leaf.cnf'),
    'basicConstraints=CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n',
  )
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '30',
    '-subj',
    '/O=Test/CN=root',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
  )
  let serial = 0
  return {
    certFile: join(dir, 'ca.crt'),
    /** @param days negative for one that has expired */
    async signer(subject: string, { days = 30, extensions = 'leaf.cnf' }: { days?: number; extensions?: string } = {}) {
      const name = `leaf${++serial}`
      await openssl('req', ...newKey, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`)
      const made = [
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-set_serial',
        String(serial),
      ]
      await openssl(...made, '-days', String(days), '-extfile', extensions, '-out', `${name}.crt`)
      const der = await run('openssl', ['x509', '-in', `${name}.crt`, '-outform', 'der'], {
        cwd: dir,
        encoding: 'buffer',
      })
      const key = createPrivateKey(await readFile(join(dir, `${name}.key`)))
      return (target: TestDescriptor, more: { expiry?: string } = {}): Buffer => {
        const { mediaType, digest, size } = target
        const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
        const header = encoded({
          alg: 'ES256',
          cty: 'application/vnd.cncf.notary.payload.v1+json',
          crit: ['io.cncf.notary.signingScheme', ...(more.expiry === undefined ? [] : ['io.cncf.notary.expiry'])],
          'io.cncf.notary.signingScheme': 'notary.x509',
          'io.cncf.notary.signingTime': new Date().toISOString(),
          ...(more.expiry === undefined ? {} : { 'io.cncf.notary.expiry': more.expiry }),
        })
        const payload = encoded({ targetArtifact: { mediaType, digest, size } })
        const signature = sign('sha256', Buffer.from(`${header}.${payload}`), { key, dsaEncoding: 'ieee-p1363' })
        return Buffer.from(
          JSON.stringify({
            payload,
            protected: header,
            header: { x5c: [der.stdout.toString('base64')], 'io.cncf.notary.signingAgent': 'test' },
            signature: signature.toString('base64url'),
          }),
        )
      }
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  }
}
