import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificate {
  cert: string
  key: string
  certFile: string
  keyFile: string
}

/** An authority of the test's own, known to nobody else, that certifies loopback servers and clients. */
export interface Authority extends AsyncDisposable {
  /** Its own certificate, in PEM form. */
  cert: string
  certFile: string
  /** @param validity `expired` ended years ago */
  issue(name: string, validity?: 'valid' | 'expired'): Promise<Certificate>
}

export async function startAuthority(): Promise<Authority> {
  const dir = await mkdtemp(join(tmpdir(), 'purser-ca-'))
  const openssl = (...args: string[]) => run('openssl', args, { cwd: dir })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await mkdir(join(dir, 'issued'))
  await writeFile(join(dir, 'index'), '')
  await writeFile(
    join(dir, 'ca.cnf'),
    `[ca]
default_ca = own
[own]
database = index
new_certs_dir = issued
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = CA:false
subjectAltName = DNS:localhost,IP:127.0.0.1
`,
  )
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '30',
    '-subj',
    '/CN=test authority',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
  )
  return {
    cert: await readFile(join(dir, 'ca.crt'), 'utf8'),
    certFile: join(dir, 'ca.crt'),
    async issue(name, validity = 'valid') {
      const [certFile, keyFile] = [join(dir, `${name}.cert`), join(dir, `${name}.key`)]
      const [from, to] =
        validity === 'valid' ? ['20200101000000Z', '20991231000000Z'] : ['20200101000000Z', '20200201000000Z']
      await openssl('req', '-new', ...newKey, '-subj', `/CN=${name}`, '-keyout', keyFile, '-out', `${name}.csr`)
      const signing = ['-config', 'ca.cnf', '-keyfile', 'ca.key', '-cert', 'ca.crt', '-extensions', 'leaf']
      await openssl(
        'ca',
        '-batch',
        '-notext',
        ...signing,
        '-startdate',
        from,
        '-enddate',
        to,
        '-in',
        `${name}.csr`,
        '-out',
        certFile,
      )
      return { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8'), certFile, keyFile }
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  }
}
