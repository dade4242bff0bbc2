"""The tests that show the effect of settings which are in no recipe and in no result.

`test_effects.py` checks that each of them is there.
"""

# By file: the name of a setting (of a stage by its `use`, else of a config class) and of a test.
SHOWN_BY: dict[str, dict[str, str]] = {
    "tests/pipeline/config/test_config.py": {
        "RefineConfig.rounds": "test_the_default_is_every_stage_on_scenes_with_two_rounds",
    },
    "tests/pipeline/config/test_run_settings.py": {
        "scenes.count": "test_the_source_renders_as_many_scenes_as_are_asked_for",
        "RunConfig.seed": "test_the_seed_of_a_run_is_that_of_its_trainings",
        "Entry.use": "test_the_settings_of_an_entry_change_the_graph",
        "Entry.after": "test_the_settings_of_an_entry_change_the_graph",
        "Entry.group": "test_the_settings_of_an_entry_change_the_graph",
        "Entry.batch_size": "test_the_settings_of_an_entry_change_the_graph",
        "RefineConfig.start": "test_the_seed_of_a_run_is_that_of_its_trainings",
        "RefineConfig.human_weight": "test_the_weight_of_human_labels_is_that_of_the_trainings",
    },
    "tests/pipeline/config/test_names.py": {
        "merge.levels": "test_a_name_of_what_is_not_there_is_refused",
    },
    "tests/pipeline/config/test_settings.py": {
        "ClusterConfig.address": "test_a_cluster_that_cannot_be_joined_is_told_by_its_setting",
    },
    "tests/pipeline/execution/test_engine.py": {
        "GroupConfig.cpus": "test_a_group_that_wants_more_than_the_cluster_has_is_refused_at_once",
    },
    "tests/pipeline/execution/test_shared_images.py": {
        "RoundsConfig.images": "test_a_round_that_shares_images_holds_records_in_their_order",
    },
    "tests/pipeline/ingest/test_ingest.py": {
        "source.path": "test_another_source_on_the_same_work_folder_is_refused",
        "RunConfig.work": "test_another_source_on_the_same_work_folder_is_refused",
        "SourceConfig.use": "test_another_source_on_the_same_work_folder_is_refused",
        "SourceConfig.limit": "test_a_limit_takes_the_first_names",
        "SourceConfig.shard_size": "test_names_keep_their_shards_when_others_come",
    },
    "tests/pipeline/ingest/test_refused.py": {
        "SourceConfig.refuse": (
            "test_listed_bytes_and_resized_copies_are_failed_rows_and_are_not_stored"
        ),
        "SourceConfig.refuse_distance": "test_no_distance_refuses_the_same_hash_only",
    },
    "tests/pipeline/ingest/test_mistaken_sources.py": {
        "RunConfig.source": "test_what_sources_may_not_be_is_said_in_a_line",
    },
    "tests/pipeline/ingest/test_several_sources.py": {
        "RunConfig.sources": "test_shards_and_keys_begin_with_the_name_of_their_source",
    },
    "tests/pipeline/models/test_inventory.py": {
        "ClusterConfig.models": "test_all_workers_use_the_folder_that_cluster_models_names",
    },
    "tests/pipeline/plan/test_graph.py": {
        "GroupConfig.threads": "test_batch_size_and_threads_are_part_of_the_recipe",
    },
    "tests/pipeline/quality/test_calibration.py": {
        "CalibrateConfig.precision": "test_a_curve_by_hand",
        "CalibrateConfig.iou": "test_a_precision_that_is_no_share_is_refused",
        "CalibrateConfig.min_labels": (
            "test_thresholds_come_per_specialist_and_per_class_with_enough_labels"
        ),
    },
    "tests/pipeline/quality/test_coco_grids.py": {
        "coco.upright": "test_the_revision_changes_with_the_decision_and_is_stable_without_one",
    },
    "tests/pipeline/refinement/test_complete.py": {
        "RefineConfig.complete": (
            "test_the_rounds_model_may_ground_the_new_texts_in_place_of_a_specialist"
        ),
    },
    "tests/pipeline/refinement/test_gate.py": {
        "GateConfig.held_out": (
            "test_the_share_of_samples_that_is_held_out_is_the_one_asked_for_and_stable"
        ),
        "GateConfig.tolerance": "test_a_tolerance_lets_a_small_loss_count_as_no_gain",
        "GateConfig.min_gain": "test_a_round_that_changes_nothing_is_rejected_as_no_gain",
    },
    "tests/pipeline/refinement/test_human_labels.py": {
        "GateConfig.held_out_human": "test_no_training_sees_the_human_labels_that_judge",
    },
    "tests/pipeline/refinement/test_loop.py": {
        "RefineConfig.start_from": "test_a_plan_is_the_loop_that_only_records",
        "RefineConfig.folds": "test_a_model_is_asked_only_about_samples_that_its_training_left_out",
        "RefineConfig.stop": "test_a_round_that_changes_nothing_is_rejected_and_says_so",
    },
    "tests/pipeline/refinement/test_people.py": {
        "GateConfig.truth": "test_people_judge_what_the_machines_alone_make_of_reviewed_samples",
    },
    "tests/pipeline/refinement/test_sparse_texts.py": {
        "SparseConfig.texts": (
            "test_texts_that_few_samples_have_are_learned_and_written_for_the_others_once"
        ),
        "SparseConfig.start": (
            "test_sparse_texts_are_learned_from_the_rounds_model_or_another_checkpoint"
        ),
        "SparseConfig.stages": (
            "test_texts_that_few_samples_have_are_learned_and_written_for_the_others_once"
        ),
        "SparseConfig.batch_size": (
            "test_texts_that_few_samples_have_are_learned_and_written_for_the_others_once"
        ),
    },
    "tests/pipeline/release/test_build.py": {
        "ReleaseConfig.name": "test_a_released_version_is_not_written_again",
        "ReleaseConfig.version": "test_a_released_version_is_not_written_again",
        "ReleaseConfig.title": "test_a_person_says_what_the_release_is_and_which_round_it_holds",
        "ReleaseConfig.description": (
            "test_a_person_says_what_the_release_is_and_which_round_it_holds"
        ),
        "ReleaseConfig.language": "test_a_person_says_what_the_release_is_and_which_round_it_holds",
        "ReleaseConfig.date": "test_a_person_says_what_the_release_is_and_which_round_it_holds",
        "ReleaseConfig.round": "test_a_person_says_what_the_release_is_and_which_round_it_holds",
        "ReleaseConfig.images": "test_a_release_of_references_has_no_images_but_their_checksums",
        "ReleaseConfig.sources": "test_samples_get_the_licence_of_their_source",
        "ReleaseConfig.min_precision": (
            "test_labels_that_people_have_not_found_good_enough_are_not_released"
        ),
    },
    "tests/pipeline/release/test_personal.py": {
        "ReleaseConfig.phone_regions": (
            "test_numbers_of_other_regions_are_found_where_they_are_named"
        ),
    },
    "tests/pipeline/release/test_safety.py": {
        "ReleaseConfig.exclude": "test_images_are_left_out_by_a_score_and_where_it_is_missing",
        "ReleaseConfig.blur": "test_faces_are_blurred_in_pixels_record_and_tables",
        "ReleaseConfig.personal_data": "test_personal_data_is_left_out_where_that_is_asked_for",
    },
    "tests/pipeline/release/test_selection.py": {
        "ReleaseConfig.splits": (
            "test_every_source_is_split_by_the_shares_and_no_sample_moves_when_others_go"
        ),
        "ReleaseConfig.split_lists": "test_lists_decide_splits_also_for_copies",
        "ReleaseConfig.seed": "test_a_place_depends_on_key_and_seed_alone",
        "ReleaseConfig.duplicates": "test_kept_copies_are_in_one_split",
        "ReleaseConfig.dedup": "test_exact_and_near_copies_are_removed_and_nothing_else",
        "ReleaseConfig.evaluation": "test_evaluation_images_are_found_though_they_are_blurred",
        "ReleaseConfig.takedown": "test_a_takedown_removes_the_image_and_no_copy_takes_its_place",
        "ReleaseConfig.url_tables": "test_urls_are_found_in_the_tables_of_img2dataset",
    },
    "tests/pipeline/release/test_terms.py": {
        "SourceConfig.licence": "test_the_licence_of_the_run_is_that_of_the_release",
    },
    "tests/pipeline/studies/test_config.py": {
        "StudyConfig.study": "test_every_study_that_ships_is_whole",
        "StudyConfig.seed": "test_steps_are_at_the_resolution_of_the_study_unless_stages_are_named",
        "StudyConfig.resolution": (
            "test_steps_are_at_the_resolution_of_the_study_unless_stages_are_named"
        ),
        "StudyConfig.train": "test_a_family_pre_trains_on_its_tasks_alone_and_all_are_tuned_alike",
        "StudyConfig.detector": (
            "test_steps_are_at_the_resolution_of_the_study_unless_stages_are_named"
        ),
        "RowConfig.phases": "test_a_family_pre_trains_on_its_tasks_alone_and_all_are_tuned_alike",
        "DataConfig.seed": "test_every_study_that_ships_is_whole",
    },
    "tests/pipeline/submit/test_kuberay.py": {
        "PodConfig.cpus": "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors",
        "PodConfig.gpus": "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors",
        "PodConfig.memory_gb": "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors",
        "PodConfig.pods": "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors",
        "KubeRayConfig.head": "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors",
        "KubeRayConfig.cpu_workers": (
            "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors"
        ),
        "KubeRayConfig.gpu_workers": (
            "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors"
        ),
        "KubeRayConfig.tolerations": (
            "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors"
        ),
        "KubeRayConfig.node_selector": (
            "test_groups_with_gpus_get_gpu_pods_with_room_for_all_their_actors"
        ),
        "KubeRayConfig.claims": "test_all_pods_see_secrets_by_their_name_only_and_the_claims",
        "KubeRayConfig.secrets": "test_all_pods_see_secrets_by_their_name_only_and_the_claims",
        "KubeRayConfig.service_account": (
            "test_all_pods_see_secrets_by_their_name_only_and_the_claims"
        ),
        "KubeRayConfig.namespace": "test_the_settings_travel_as_a_config_map_that_the_head_sees",
        "KubeRayConfig.python": "test_the_settings_travel_as_a_config_map_that_the_head_sees",
        "KubeRayConfig.idle_seconds": "test_a_job_starts_again_and_is_removed_when_it_has_ended",
        "KubeRayConfig.retries": "test_a_job_starts_again_and_is_removed_when_it_has_ended",
        "KubeRayConfig.keep_seconds": "test_a_job_starts_again_and_is_removed_when_it_has_ended",
        "KubeRayConfig.image": "test_what_no_pod_can_do_is_refused",
    },
    "tests/pipeline/submit/test_ray_jobs.py": {
        "RayJobsConfig.jobs": "test_an_address_where_nothing_answers_is_told",
        "RayJobsConfig.folder": (
            "test_files_of_the_folder_travel_and_other_paths_must_be_seen_there"
        ),
        "RayJobsConfig.max_mb": "test_too_much_is_refused_before_anything_is_sent",
        "RayJobsConfig.python": (
            "test_files_of_the_folder_travel_and_other_paths_must_be_seen_there"
        ),
    },
    "tests/pipeline/submit/test_slurm.py": {
        "SlurmConfig.nodes": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.cpus": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.gpus": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.time": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.memory_gb": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.stop_seconds": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.partition": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.account": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.options": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.folder": "test_slurm_is_asked_for_what_the_settings_say",
        "SlurmConfig.setup": (
            "test_the_script_starts_workers_on_the_other_nodes_only_if_there_are_any"
        ),
        "SlurmConfig.python": (
            "test_the_script_starts_workers_on_the_other_nodes_only_if_there_are_any"
        ),
        "ClusterConfig.nodes": (
            "test_the_script_starts_workers_on_the_other_nodes_only_if_there_are_any"
        ),
        "SlurmConfig.at_once": "test_an_array_has_a_job_for_every_run",
    },
    "tests/pipeline/training/test_data.py": {
        "train.batch_size": "test_ranks_share_out_the_global_batch",
        "RowConfig.samples": "test_the_first_samples_are_the_same_whatever_the_count",
        "DataConfig.scenes": "test_the_first_samples_are_the_same_whatever_the_count",
        "DataConfig.path": "test_a_bare_folder_and_an_indexed_round_give_the_same_set",
    },
    "tests/pipeline/training/test_run.py": {
        "GroupConfig.gpus": "test_the_scarcest_resource_counts",
        "GroupConfig.actors": "test_as_many_workers_train_as_there_is_room_for",
    },
    "tests/stages/filters/test_language.py": {
        "parse.model": "test_a_missing_model_says_how_to_install_it",
        "parse.texts_per_batch": "test_equal_texts_are_parsed_once_and_answers_keep_their_order",
    },
    "tests/stages/florence/test_examine.py": {
        "StudyConfig.tasks": "test_every_example_that_the_truth_gives_is_asked_once",
        "StudyConfig.texts": "test_only_the_texts_that_are_asked_about_have_phrases",
        "StudyConfig.max_tokens": "test_every_example_that_the_truth_gives_is_asked_once",
        "StudyConfig.beams": "test_answers_come_from_as_many_beams_as_are_asked_for",
    },
    "tests/stages/florence/test_inference.py": {
        "florence.rows": "test_a_row_does_not_depend_on_its_neighbours",
    },
    "tests/stages/florence/test_refine.py": {
        "florence.model": "test_a_true_category_has_more_support_than_a_false_one",
        "florence.same_place": "test_a_detected_box_takes_the_description_that_lies_on_it",
    },
    "tests/stages/florence/test_training.py": {
        "train.micro_batch": "test_saving_memory_does_not_change_what_is_learnt",
        "train.recompute": "test_saving_memory_does_not_change_what_is_learnt",
        "train.human_weight": "test_human_labels_weigh_more_and_the_loss_is_the_mean_by_weight",
        "train.checkpoint_every": "test_a_killed_and_resumed_run_ends_with_the_same_bytes",
    },
    "tests/stages/sources/test_coco.py": {
        "coco.instances": "test_boxes_masks_and_captions_come_in_as_human_labels_with_cocos_ids",
        "coco.captions": "test_boxes_masks_and_captions_come_in_as_human_labels_with_cocos_ids",
    },
    "tests/stages/sources/test_cvat.py": {
        "cvat.xml": "test_boxes_polygons_and_masks_of_cvat_come_in",
        "cvat.upright": "test_boxes_polygons_and_masks_of_cvat_come_in",
    },
    "tests/stages/sources/test_labelled.py": {
        "class_folders.names": "test_names_of_classes_come_from_a_file_which_may_be_corrected",
        "labelstudio.tasks": "test_the_newest_rectangles_of_label_studio_come_in",
        "labelstudio.upright": "test_the_newest_rectangles_of_label_studio_come_in",
    },
    "tests/stages/sources/test_open_images.py": {
        "open_images.boxes": "test_boxes_of_open_images_are_in_pixels_and_groups_are_crowds",
        "open_images.labels": "test_boxes_of_open_images_are_in_pixels_and_groups_are_crowds",
        "open_images.classes": "test_boxes_of_open_images_are_in_pixels_and_groups_are_crowds",
        "open_images.upright": "test_labels_of_a_picture_with_exif_are_turned_with_it",
        "yolo.upright": "test_labels_of_a_picture_with_exif_are_turned_with_it",
    },
    "tests/stages/sources/test_yolo.py": {
        "yolo.data": "test_what_is_wrong_with_data_yaml_is_said_in_a_line",
    },
    "tests/stages/specialists/test_endpoint.py": {
        "endpoint_describe.key_variable": "test_the_key_comes_from_the_environment",
        "endpoint_describe.cache": "test_nothing_is_asked_twice_after_a_restart",
        "endpoint_describe.token_budget": (
            "test_the_budget_is_never_exceeded_by_any_number_of_askers_or_restarts"
        ),
        "endpoint_describe.concurrency": (
            "test_the_budget_is_never_exceeded_by_any_number_of_askers_or_restarts"
        ),
        "endpoint_describe.attempts": (
            "test_passing_faults_are_tried_again_and_lasting_ones_fail_the_sample"
        ),
        "endpoint_describe.timeout": "test_an_answer_that_takes_too_long_is_a_failed_attempt",
        "endpoint_describe.backoff": "test_the_wait_is_doubled_with_each_attempt",
    },
    "tests/stages/specialists/test_images.py": {
        "region_text.context": "test_a_crop_has_a_margin_and_at_least_a_pixel_of_the_image",
    },
    "tests/stages/specialists/test_pretrained.py": {
        "region_text.model": "test_crops_are_captioned_for_region_texts",
    },
    "tests/stages/specialists/test_pretrained_refused.py": {
        "region_text.language_model": (
            "test_a_language_model_that_is_not_installed_is_refused_before_any_sample"
        ),
        "florence.device": "test_a_gpu_that_is_not_there_is_refused",
        "train.device": "test_a_gpu_that_is_not_there_is_refused",
    },
    "tests/stages/test_dedup.py": {
        "DedupConfig.distance": "test_a_threshold_that_would_drop_everything_or_nothing_is_refused",
        "DedupConfig.mirrored": (
            "test_altered_copies_repeat_the_largest_one_and_a_mirrored_one_does_only_if_asked"
        ),
        "DedupConfig.similarity": (
            "test_a_threshold_that_would_drop_everything_or_nothing_is_refused"
        ),
        "DedupConfig.model": "test_a_model_gives_each_image_the_unit_vector_of_its_features",
        "DedupConfig.method": (
            "test_altered_copies_repeat_the_largest_one_and_a_mirrored_one_does_only_if_asked"
        ),
        "DedupConfig.batch_size": "test_the_pixels_of_a_batch_are_kept_for_a_model_only",
    },
    "tests/system/test_rerun.py": {
        "ClusterConfig.workers": (
            "test_a_run_that_is_killed_in_its_training_gives_the_same_bytes_with_more_workers"
        ),
    },
    "tests/system/test_run.py": {
        "RunConfig.experiment": "test_the_table_of_rounds_the_head_and_the_report_are_there",
    },
    "tests/system/test_study.py": {
        "StudyConfig.title": "test_a_study_tests_every_phase_and_a_second_run_does_nothing",
        "StudyConfig.work": "test_a_study_tests_every_phase_and_a_second_run_does_nothing",
        "StudyConfig.learner": "test_a_row_trains_a_detector_and_one_that_fails_is_one_line",
        "StudyConfig.start": "test_a_row_trains_a_detector_and_one_that_fails_is_one_line",
        "RowConfig.start": "test_a_row_trains_a_detector_and_one_that_fails_is_one_line",
    },
    "tests/system/test_train.py": {
        "train.tensorboard": "test_curves_are_written_for_tensorboard",
        "TrainCommandConfig.start": (
            "test_what_is_done_is_not_done_again_and_other_settings_are_refused"
        ),
        "TrainCommandConfig.seed": (
            "test_what_is_done_is_not_done_again_and_other_settings_are_refused"
        ),
    },
}
ELSEWHERE: dict[str, str] = {}
for _file, _tests in SHOWN_BY.items():
    for _setting, _test in _tests.items():
        ELSEWHERE[_setting] = f"{_file}::{_test}"
