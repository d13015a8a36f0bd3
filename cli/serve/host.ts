import { InputError } from "../command.ts";

/**
 * Makes a host of what was typed.
 * @throws {InputError} For an address, route or rule that cannot be.
 */
export function startHost<H>(make: () => H): H {
  try {
    return make();
  } catch (error) {
    if (error instanceof Error && /^(RouteError|FirewallError|TypeError)$/.test(error.name)) {
      throw new InputError(error.message);
    }
    throw error;
  }
}
