import KeyCustody
