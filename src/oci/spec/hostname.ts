import { z } from 'zod'

/** One label of RFC 1123, or several joined by dots. */
export const hostname = z
  .string()
  .max(64, 'a hostname has 64 characters at most')
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/,
    'a hostname is letters, digits and inner hyphens, in parts joined by dots',
  )
