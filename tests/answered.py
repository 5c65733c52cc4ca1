"""Fifty faults of tables, models and configurations: which tests hold the answer to each."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
#: Which tests provoke each fault and hold its answer: row of the list, then ``file::test``.
ANSWERED: dict[int, str] = {
    1: """test_tables::test_fits_comes_in_native_order_with_clean_text_and_nulls
          test_tables::test_a_frame_keeps_nullable_integers_and_any_byte_order
          test_tables_properties::test_byte_order_and_masks_of_a_table_in_memory_change_nothing""",
    2: """test_bad_inputs::test_a_gap_is_flagged_and_leaves_the_other_rows
          test_bad_inputs::test_arrays_with_a_mask_or_a_unit
          test_tables::test_quantities_become_plain_columns_and_the_source_stays""",
    3: """test_bad_inputs::test_a_gap_is_flagged_and_leaves_the_other_rows
          test_posterior::test_a_missing_intrinsic_input_is_integrated_over
          test_gaps::test_stars_with_gaps_do_not_move_the_others""",
    4: """test_clean::test_sentinels_and_impossible_values_become_gaps_and_are_counted
          test_clean::test_the_nulls_of_fits_integers_go_from_every_column
          test_sentinels::test_unannounced_sentinels_among_common_stars_are_missing_and_said
          test_plausible::test_what_no_star_can_be_is_missing_and_counted
          test_sentinels::test_a_translated_star_with_an_unannounced_sentinel_has_a_gap
          test_catalogue::test_faults_of_a_catalogue_row_become_nan_and_keep_the_row""",
    5: """test_pairs::test_missing_outputs_are_allowed_and_marked
          test_catalogue::test_a_star_without_any_input_or_output_is_left_out_and_counted""",
    6: """test_scale::test_a_constant_input_is_refused_by_its_column
          test_scale::test_a_constant_output_is_refused_by_its_column
          test_fit::test_a_constant_column_is_refused_before_the_fit""",
    7: """test_catalogue::test_a_missing_column_lists_the_nearest
          test_translate_faults::test_a_missing_column_is_refused_with_the_nearest_name""",
    8: """test_catalogue::test_case_matters_only_where_it_is_ambiguous
          test_formats::test_two_columns_of_one_name_are_refused_and_not_renamed
          test_formats::test_two_columns_of_one_name_in_a_frame""",
    9: """test_translate::test_an_empty_table_has_the_full_schema
          test_tables::test_an_empty_table_keeps_its_columns
          test_formats::test_names_alone_are_an_empty_table
          test_formats::test_vectors_of_a_table_without_rows
          test_formats::test_an_empty_ecsv_table_with_vectors_keeps_them""",
    10: "test_translate::test_one_row_gives_the_bits_it_has_within_the_table",
    11: """test_fit::test_too_few_stars_are_refused_with_the_number_needed
           test_fit::test_stars_are_counted_per_network""",
    12: """test_bad_inputs::test_arrays_with_a_mask_or_a_unit
           test_tables_properties::test_any_unit_of_speed_becomes_that_of_the_spec
           test_tables::test_quantities_become_plain_columns_and_the_source_stays""",
    13: """test_clean::test_a_column_in_another_unit_is_refused_and_not_emptied
           test_catalogue::test_metres_per_second_are_converted_with_their_errors
           test_catalogue::test_an_unlabelled_speed_in_metres_is_refused
           test_translate::test_velocities_may_be_in_another_unit""",
    14: """test_bad_inputs::test_a_missing_unit_is_said_once_and_recorded
           test_bad_inputs::test_units_that_were_taken_are_in_the_header
           test_bad_inputs::test_a_dash_is_no_unit""",
    15: """test_catalogue::test_spellings_of_plain_numbers
           test_catalogue::test_spellings_of_kelvin
           test_bad_inputs::test_spellings_of_speeds
           test_formats::test_unsigned_integers_and_odd_units_of_fits
           test_catalogue::test_units_that_do_not_fit_are_refused""",
    16: """test_bad_inputs::test_metallicity_is_not_offered_for_iron
           test_match::test_metallicity_is_never_taken_for_iron""",
    17: """test_clean::test_a_column_in_another_unit_is_refused_and_not_emptied
           test_bad_inputs::test_gravity_in_linear_units_is_refused
           test_catalogue::test_a_temperature_beyond_belief_is_refused""",
    18: """test_catalogue::test_an_error_floor_raises_zero_but_not_negative_errors
           test_posterior::test_a_missing_or_impossible_error_is_integrated_over
           test_translate_faults::test_an_error_that_is_none_is_integrated_over_and_has_flag_2""",
    19: "test_translate_faults::test_an_error_unlike_those_in_training_has_flag_8",
    20: """test_catalogue::test_identifiers_that_cannot_be_trusted_are_refused
           test_catalogue::test_lost_digits_are_a_fault_of_a_catalogue_as_well
           test_catalogue::test_lost_digits_are_refused_beside_another_identifier
           test_match::test_identifiers_that_went_through_floats_are_refused_with_their_table""",
    21: """test_tables::test_csv_integers_with_nulls_and_late_fractions
           test_formats::test_identifiers_in_csv_keep_what_is_written
           test_tables_properties::test_identifiers_keep_every_digit""",
    22: """test_bad_inputs::test_identifiers_never_enter_jax
           test_translate::test_all_identifiers_come_first_and_unchanged""",
    23: "test_match::test_null_identifiers_match_nobody_and_are_counted",
    24: "test_match::test_repeated_stars_give_one_row_and_the_best_is_kept",
    25: """test_pairs::test_split_keeps_all_rows_of_a_star_together
           test_pairs::test_folds_test_each_star_once""",
    26: """test_match::test_identifiers_of_different_gaia_releases_warn
           test_match::test_few_common_stars_warn_and_none_is_refused""",
    27: """test_tables_properties::test_padding_is_no_part_of_text
           test_formats::test_objects_become_what_they_all_are
           test_tables::test_fits_comes_in_native_order_with_clean_text_and_nulls""",
    28: """test_catalogue::test_vector_columns_need_an_index
           test_formats::test_lists_with_gaps_are_vectors_with_gaps""",
    29: "test_surveys::test_a_missing_flag_is_a_bad_one_except_where_blank_is_good",
    30: """test_tables::test_another_delimiter_is_named
           test_formats::test_text_that_is_no_csv_is_refused_with_the_reason""",
    31: """test_tables::test_junk_is_one_short_error_with_the_path
           test_tables::test_a_truncated_fits_file_is_refused
           test_tables::test_other_truncated_files_are_refused
           test_formats::test_a_compressed_file_that_was_cut_short_is_refused
           test_fuzz::test_a_damaged_table_is_refused_or_read""",
    32: """test_translate::test_provenance_of_a_name_beyond_ascii_is_ascii
           test_translate::test_fits_header_has_descriptors_and_provenance_in_ascii""",
    33: """test_translate_faults::test_an_existing_output_is_refused_and_kept
           test_cli_faults::test_an_existing_output_is_refused
           test_bad_inputs::test_the_output_may_not_be_the_input
           test_bad_inputs::test_no_command_writes_over_its_inputs""",
    34: """test_tables_written::test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else
           test_store::test_a_failed_write_leaves_nothing_behind
           test_store::test_a_killed_write_leaves_no_model_at_the_final_name
           test_bad_inputs::test_a_killed_writer_leaves_the_old_table
           test_stream::test_what_was_interrupted_goes_on_to_the_same_file
           test_stream_killed::test_kills_at_any_moment_lose_nothing""",
    35: "test_stream::test_another_job_is_not_gone_on_with",
    36: "test_stream::test_a_second_writer_is_refused",
    37: "test_stream::test_reading_in_parts_takes_no_more_memory_for_more_rows",
    38: "test_summary::test_a_device_without_room_gets_fewer_stars_at_a_time",
    39: """test_diagnose::test_a_collapsed_step_is_called_frozen
           test_diagnose::test_a_large_energy_error_is_called_a_bias
           test_diagnose::test_chains_in_different_places_are_said_to_disagree
           test_diagnose::test_slowly_mixing_draws_count_for_few
           test_cli::test_strict_fails_where_there_is_a_warning""",
    40: """test_translate_faults::test_a_velocity_unlike_those_in_training_has_flag_256
           test_translate_faults::test_a_star_outside_has_flag_4_and_keeps_its_answer
           test_calibration_fit::test_a_far_star_is_outside_not_narrower_and_no_farther_from_the_line""",
    41: """test_calibration_fit::test_strict_translation_refuses_stars_outside_and_writes_nothing
           test_calibration_fit::test_strict_translation_may_allow_a_share_of_stars_outside
           test_calibration_fit::test_that_many_stars_lie_outside_is_said
           test_cli::test_translate_writes_the_apis_table
           test_support::test_a_shifted_catalogue_lies_mostly_outside""",
    42: """test_store_refused::test_what_is_no_model_is_refused
           test_store_refused::test_a_pickle_is_never_run
           test_store_refused::test_objects_and_text_are_refused""",
    43: """test_store_refused::test_16_gigabytes_are_refused_unread
           test_store_refused::test_many_datasets_below_the_budget_are_added_up""",
    44: """test_store_refused::test_a_truncated_model_is_refused
           test_store_refused::test_one_flipped_bit_anywhere_is_refused
           test_store_refused::test_damage_that_would_hang_hdf5_is_refused
           test_fuzz::test_a_damaged_model_is_refused
           test_fuzz::test_damaged_weights_with_a_new_seal_are_refused""",
    45: "test_store_refused::test_a_newer_format_is_refused_with_both_versions",
    46: """test_bad_inputs::test_columns_in_another_order_give_the_same_answers
           test_translate::test_velocities_may_be_in_another_unit
           test_translate_faults::test_a_missing_column_is_refused_with_the_nearest_name""",
    47: """test_store_refused::test_weights_that_are_not_finite_are_refused_whatever_the_digest
           test_store_refused::test_weights_of_another_shape_are_refused_whatever_the_digest
           test_store_refused::test_no_array_may_have_another_shape""",
    48: """test_store_refused::test_a_link_is_refused_by_its_place
           test_store_refused::test_data_outside_the_file_are_refused
           test_bad_inputs::test_names_that_lead_out_of_a_model_are_refused""",
    49: "test_hats::test_an_empty_partition_has_the_columns_of_the_others",
    50: """test_bad_inputs::test_ctrl_c_in_a_fit_is_a_clean_stop
           test_cli_faults::test_ctrl_c_during_a_fit_leaves_nothing
           test_cli_faults::test_ctrl_c_that_a_library_mistakes_or_drops_still_stops
           test_cli_faults::test_ctrl_c_during_a_translation_leaves_what_was_there""",
}
