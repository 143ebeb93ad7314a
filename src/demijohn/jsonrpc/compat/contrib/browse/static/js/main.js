// The App's script, under the name that Flask-JSONRPC gives it.
import "../browse.js";
