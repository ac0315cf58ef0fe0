/** The rule for new passwords, told before the node would refuse one. */

/** Shortest password that a node takes, in bytes. */
export const PASSWORD_BYTES_MIN = 12;

/** What is wrong with a new password; `null` when nothing is. */
export type PasswordFault = 'tooShort' | 'differ' | 'isUser' | null;

/** Compares a new password with the rule, and with its repetition. */
export function faultOf(user: string, password: string, again: string): PasswordFault {
  if (new TextEncoder().encode(password).length < PASSWORD_BYTES_MIN) return 'tooShort';
  if (password.toLowerCase() === user.toLowerCase()) return 'isUser';
  return password === again ? null : 'differ';
}
