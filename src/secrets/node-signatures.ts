import { openNote, type Signer, signNote, type Verifier, verifierOf } from '../archive/note.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'

/** Documents that go from node to node, signed by the key that a node's log is signed with. */
export class NodeSignatures {
  readonly #own: Signer
  readonly #trusted: readonly Verifier[]

  /** @param trusted keys of other nodes; one's own is trusted in any case */
  constructor(own: Signer, trusted: readonly Verifier[]) {
    this.#own = own
    this.#trusted = [verifierOf(own), ...trusted]
  }

  /** @param text ends with a newline */
  sign(text: string): string {
    return signNote(text, this.#own)
  }

  /** @returns the text of a document that a trusted node has signed @throws PurserError permission_denied */
  open(note: string): string {
    for (const verifier of this.#trusted) {
      try {
        return openNote(note, verifier)
      } catch (error) {
        if (errorCodeOf(error) !== 'data_loss') throw error
      }
    }
    const [, by = 'nobody'] = /\n\u2014 ([^\s+]{1,200}) [A-Za-z0-9+/=]+\n$/.exec(note) ?? []
    throw new PurserError(
      'permission_denied',
      `it is signed by ${by}, with no key that is trusted here, or was altered`,
      {
        remedy:
          'where that node is to be trusted, its key (purser log key, there) goes into trustedKeys of [checkpoints]',
      },
    )
  }
}
