/** `GET /api/token`: what a token is good for. Not a command, because only who has a token can ask. */
import { z } from 'zod'
import { ROLES } from '../core/command-access.ts'

export const TOKEN_PATH = '/api/token'

export const tokenAnswer = z.strictObject({
  id: z.string().describe('The part of it that is no secret.'),
  role: z.enum(ROLES),
  domains: z.array(z.string()).nullable().describe('All if null.'),
  hosted: z.array(z.string()).describe('Domains of this server it is good for.'),
  commands: z.array(z.string()).describe('What it may give, perhaps not with every argument.'),
  content: z.boolean().describe('Whether it may see what is in messages.'),
})

export type TokenAnswer = z.output<typeof tokenAnswer>
